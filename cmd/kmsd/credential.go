package main

import (
	"strings"

	"github.com/kmsd/kmsd/service"
)

// credential is a long-term access key.
type credential struct{ id, secret string }

// minSecret is the shortest secret that is accepted from outside, in characters.
const minSecret = 16

// newCredential draws a long-term access key.
func newCredential() credential {
	id, secret := service.NewAccessKey("AKIA")
	return credential{id, secret}
}

// validAccessKeyID tells whether s can be an access key id (AWS: AccessKeyId, 16
// to 128 word characters).
func validAccessKeyID(s string) bool {
	const word = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return len(s) >= 16 && len(s) <= 128 && strings.Trim(s, word) == ""
}
