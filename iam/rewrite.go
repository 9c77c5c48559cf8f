package iam

import "encoding/json"

// Rewrite returns the policy with each of its AWS principals replaced by what
// replace returns for it; everything else stays as it was written. It is how ARNs of
// users and roles become unique ids in a stored policy, and ARNs again when it is
// shown. Errors are Parse's.
func Rewrite(source string, replace func(principal string) string) (string, error) {
	doc, err := parseDocument(source)
	if err != nil {
		return "", err
	}
	out, at := make([]byte, 0, len(source)), 0
	for i := range doc.statements {
		for _, t := range doc.statements[i].principalText {
			to := replace(t.value)
			if to == t.value {
				continue
			}
			quoted, err := json.Marshal(to)
			if err != nil {
				return "", err
			}
			out = append(append(out, source[at:t.from]...), quoted...)
			at = t.to
		}
	}
	return string(append(out, source[at:]...)), nil
}
