package testport

// For tests of this package.
var (
	Candidates  = candidates
	KernelRange = kernelRange
)

// Size is how many ports a block has.
const Size = size

// Blocks returns how many blocks this process owns.
func Blocks() int {
	mu.Lock()
	defer mu.Unlock()
	return len(owned)
}
