# Makes a table of what "go test -bench" prints. Where a benchmark has parts, the
# last column is the processor time of each relative to the first of them: the
# ratios remain comparable on a machine that does other things as well.
#
# Processor time is the metric cpu-ns/op where a benchmark reports it, and the
# elapsed time per operation otherwise.
function metric(unit,    i) {
	for (i = 3; i < NF; i += 2)
		if ($(i + 1) == unit)
			return $i
	return ""
}
/^pkg: / { pkg = $2; sub(/^github\.com\/kmsd\/kmsd\//, "", pkg) }
/^Benchmark/ && NF > 3 {
	name = $1
	sub(/^Benchmark/, "", name)
	sub(/-[0-9]+$/, "", name)
	time = metric("cpu-ns/op")
	if (time == "")
		time = metric("ns/op")
	if (pkg != last) {
		printf "%s%-44s %14s %12s %10s %8s\n", (last == "" ? "" : "\n"), pkg, "ns/op", "B/op", "allocs/op", "ratio"
		last = pkg
	}
	ratio = ""
	if (split(name, part, "/") > 1) {
		if (part[1] != group) {
			group = part[1]
			base = time
		}
		ratio = sprintf("%.2f", time / base)
	}
	printf "  %-42s %14.1f %12s %10s %8s\n", name, time, metric("B/op"), metric("allocs/op"), ratio
	shown++
}
/^(FAIL|panic:|--- FAIL)/ { print; failed = 1 }
END {
	if (failed || !shown)
		exit 1
}
