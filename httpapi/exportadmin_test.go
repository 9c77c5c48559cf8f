package httpapi

import (
	"net/http"

	"github.com/gorilla/mux"
)

// URLMembers is urlMembers for a path with the variable accountId.
func URLMembers(r *http.Request, id string) ([]byte, bool) {
	return urlMembers(mux.SetURLVars(r, map[string]string{"id": id}), adminRoute{variable: "accountId"})
}
