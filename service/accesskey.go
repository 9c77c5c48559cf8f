package service

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"math/big"
)

// NewAccessKey draws an access key in AWS's form: the prefix (AKIA for long-term
// credentials, ASIA for temporary ones) and 16 characters of A–Z and 2–7, with a
// secret of 40 characters of base64, which are 240 random bits.
func NewAccessKey(prefix string) (id, secret string) {
	var forID [10]byte
	var forSecret [30]byte
	rand.Read(forID[:])
	rand.Read(forSecret[:])
	return prefix + base32.StdEncoding.EncodeToString(forID[:]), base64.StdEncoding.EncodeToString(forSecret[:])
}

// NewAccountID draws an account's id, 12 digits. It does not begin with 0, because
// tools take such ids for numbers.
func NewAccountID() string {
	const least, span = 100_000_000_000, 900_000_000_000
	n, err := rand.Int(rand.Reader, big.NewInt(span))
	if err != nil {
		panic("kmsd: the operating system's random numbers: " + err.Error())
	}
	return n.Add(n, big.NewInt(least)).String()
}

// NewUniqueID draws the unique id of a user (AIDA), group (AGPA), role (AROA) or
// managed policy (ANPA): the prefix and 17 characters of A–Z and 2–7 (AWS IAM:
// "Unique identifiers").
func NewUniqueID(prefix string) string {
	var b [11]byte
	rand.Read(b[:])
	return prefix + base32.StdEncoding.EncodeToString(b[:])[:17]
}
