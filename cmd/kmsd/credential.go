package main

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"strings"
)

// credential is a long-term access key.
type credential struct{ id, secret string }

// minSecret is the shortest secret that is accepted from outside, in characters.
const minSecret = 16

// newCredential draws an access key in AWS's form: "AKIA" and 16 characters of
// A–Z and 2–7; a secret of 40 characters of the base64 alphabet.
func newCredential() credential {
	var id [10]byte
	var secret [30]byte
	rand.Read(id[:])
	rand.Read(secret[:])
	return credential{"AKIA" + base32.StdEncoding.EncodeToString(id[:]), base64.StdEncoding.EncodeToString(secret[:])}
}

// validAccessKeyID tells whether s can be an access key id (AWS: AccessKeyId, 16
// to 128 word characters).
func validAccessKeyID(s string) bool {
	const word = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	return len(s) >= 16 && len(s) <= 128 && strings.Trim(s, word) == ""
}
