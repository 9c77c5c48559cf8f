package wire_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/kmsd/kmsd/wire"
)

func TestSensitiveValuesAreNeverPrinted(t *testing.T) {
	t.Parallel()
	type holder struct {
		Bytes wire.Sensitive
		Text  wire.SensitiveString
		Ptr   *wire.SensitiveString
	}
	const secret = "hunter2"
	v := holder{wire.Sensitive(secret), secret, new(wire.SensitiveString(secret))}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "b", v.Bytes, "t", v.Text, "p", v.Ptr, "all", v)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "b", v.Bytes, "t", v.Text, "p", v.Ptr, "all", v)
	asJSON, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	printed := []string{log.String(), string(asJSON), v.Bytes.String(), v.Text.String(), v.Bytes.GoString(), v.Text.GoString()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%08b", "%T %v"} {
		for _, arg := range []any{v, &v, v.Bytes, v.Text, v.Ptr, []any{v.Bytes}, map[string]any{"k": v.Text}} {
			printed = append(printed, fmt.Sprintf(verb, arg))
		}
	}
	for _, p := range printed {
		low := strings.ToLower(p)
		for _, form := range []string{"hunter2", "68756e74657232", "104 117", "aHVudGVyMg", "0x68"} {
			if strings.Contains(low, strings.ToLower(form)) {
				t.Errorf("got %q, which shows the secret as %q", p, form)
			}
		}
	}
	if got, want := string(asJSON), `{"Bytes":"[REDACTED]","Text":"[REDACTED]","Ptr":"[REDACTED]"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
