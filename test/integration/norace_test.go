//go:build !race

package integration_test

// buildFlags make the program like the test.
var buildFlags []string
