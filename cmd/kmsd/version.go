package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionCmd is "kmsd version".
type versionCmd struct {
	JSON bool `help:"Print JSON."`
}

// A buildVersion tells what was built, by what and for what.
type buildVersion struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"` // of the source, with "+changes" where it was changed
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisVersion reads what the linker wrote down.
func thisVersion() buildVersion {
	v := buildVersion{Version: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version = info.Main.Version
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			v.Revision = s.Value + v.Revision
		case s.Key == "vcs.modified" && s.Value == "true":
			v.Revision += "+changes"
		}
	}
	return v
}

// Run prints the version.
func (c *versionCmd) Run(std *streams) error {
	v := thisVersion()
	if c.JSON {
		return std.json(v)
	}
	_, err := fmt.Fprintf(std.out, "kmsd %s %s %s\n", v.Version, v.Go, v.Platform)
	return err
}
