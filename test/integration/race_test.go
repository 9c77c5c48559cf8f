//go:build race

package integration_test

// buildFlags make the program like the test: with the race detector.
var buildFlags = []string{"-race"}
