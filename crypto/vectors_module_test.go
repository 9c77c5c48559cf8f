//go:build wycheproof

package crypto_test

// The vectors are read from the module's folder: importing the package would
// embed 100 MB into the test binary. This import, in a build that nobody makes,
// keeps the module required in go.mod.
import _ "github.com/c2sp/wycheproof"
