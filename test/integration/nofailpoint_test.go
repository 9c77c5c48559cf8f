//go:build !failpoint

package integration_test

// buildTags make the program like the test.
var buildTags []string

// atOnce is how many tests run in parallel.
const atOnce = 4
