package httpapi_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/kmsd/kmsd/httpapi"
)

// Whatever a URL holds becomes one JSON object of texts and booleans, or nothing.
func FuzzURLMembers(f *testing.F) {
	f.Add("1", "force=true&a=b")
	f.Add("\"}", "%22=%00&x=%ff&X-Amz-Date=1")
	f.Add("\u2028", "a;b")
	f.Fuzz(func(t *testing.T, id, query string) {
		text, ok := httpapi.URLMembers(&http.Request{URL: &url.URL{RawQuery: query}}, id)
		if !ok {
			return
		}
		var members map[string]any
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for name, v := range members {
			_, isText := v.(string)
			_, isBool := v.(bool)
			if !isText && !isBool {
				t.Errorf("%q is %v", name, v)
			}
		}
	})
}
