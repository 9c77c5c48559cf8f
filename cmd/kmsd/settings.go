package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// A setting is one field of Config and its three names.
type setting struct {
	key  string // in the file: "cluster.listen"
	flag string // without dashes in front: "cluster-listen"
	env  string
	// index leads to the field from Config, as for reflect.Value.FieldByIndex.
	index []int
	tag   reflect.StructTag
	kind  reflect.Type
}

// settings lists all settings in the order of Config's fields. The names follow
// kong's rules.
func settings() []setting {
	return appendSettings(nil, reflect.TypeFor[Config](), setting{})
}

func appendSettings(list []setting, t reflect.Type, above setting) []setting {
	for i := range t.NumField() {
		f := t.Field(i)
		s := setting{
			index: append(slices.Clone(above.index), i), tag: f.Tag, kind: f.Type,
			key: above.key, flag: above.flag, env: above.env,
		}
		if prefix, ok := f.Tag.Lookup("prefix"); ok {
			s.flag += prefix
			s.key += strings.TrimSuffix(prefix, "-") + "."
			s.env += f.Tag.Get("envprefix")
			list = appendSettings(list, f.Type, s)
			continue
		}
		name := kebab(f.Name)
		s.key, s.flag, s.env = s.key+name, s.flag+name, s.env+f.Tag.Get("env")
		list = append(list, s)
	}
	return list
}

// kebab writes a field's name as kong writes flags.
func kebab(name string) string {
	var b strings.Builder
	for i, r := range name {
		if i > 0 && 'A' <= r && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// maxConfigFile bounds the configuration file, in bytes.
const maxConfigFile = 64 << 10

// readConfigFile reads a YAML file and returns its values by flag. Keys that are no
// settings, keys without a value and keys that stand twice are refused.
func readConfigFile(path string) (map[string]any, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(text) > maxConfigFile {
		err = fmt.Errorf("it is longer than %d bytes", maxConfigFile)
	}
	var tree map[string]any
	if err == nil {
		err = yaml.Unmarshal(text, &tree)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	known := map[string]setting{}
	for _, s := range settings() {
		known[s.key] = s
	}
	values := map[string]any{}
	if err := flatten(values, known, "", tree); err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", path, err)
	}
	return values, nil
}

// flatten puts the leaves of the file's tree into values, by flag.
func flatten(values map[string]any, known map[string]setting, prefix string, tree map[string]any) error {
	for name, value := range tree {
		key := prefix + name
		if below, ok := value.(map[string]any); ok && isSection(known, key) {
			if err := flatten(values, known, key+".", below); err != nil {
				return err
			}
			continue
		}
		s, ok := known[key]
		if !ok {
			return fmt.Errorf("there is no setting %q", key)
		}
		leaf, ok := fileValue(value, s.kind)
		if !ok {
			return fmt.Errorf("the value of %s has not the right form", key)
		}
		values[s.flag] = leaf
	}
	return nil
}

func isSection(known map[string]setting, key string) bool {
	for k := range known {
		if strings.HasPrefix(k, key+".") {
			return true
		}
	}
	return false
}

// fileValue converts a scalar or a list of scalars to what kong parses: texts,
// and lists of texts.
func fileValue(value any, kind reflect.Type) (any, bool) {
	list, isList := value.([]any)
	if kind.Kind() != reflect.Slice {
		return scalar(value)
	}
	if !isList {
		list = []any{value}
	}
	out := make([]any, len(list))
	for i, element := range list {
		text, ok := scalar(element)
		if !ok {
			return nil, false
		}
		out[i] = text
	}
	return out, true
}

func scalar(value any) (string, bool) {
	switch value.(type) {
	case string, bool, int64, uint64, float64:
		return fmt.Sprint(value), true
	}
	return "", false
}

// fileResolver gives kong the values of the configuration file that the command's
// flag --config names. Variables of the environment win against the file: kong
// would have it the other way round.
type fileResolver struct {
	values map[string]any    // by flag; nil before load
	env    map[string]string // the variable of each flag
}

var _ kong.Resolver = (*fileResolver)(nil)

func newFileResolver() *fileResolver {
	r := &fileResolver{env: map[string]string{}}
	for _, s := range settings() {
		r.env[s.flag] = s.env
	}
	return r
}

// Validate implements kong.Resolver.
func (*fileResolver) Validate(*kong.Application) error { return nil }

// load reads the file, once the command line is known.
func (r *fileResolver) load(ctx *kong.Context) (err error) {
	node := ctx.Selected()
	if r.values != nil || node == nil {
		return nil
	}
	r.values = map[string]any{}
	for _, flag := range node.Flags {
		if path, _ := ctx.FlagValue(flag).(string); flag.Name == configFlag && path != "" {
			r.values, err = readConfigFile(path)
		}
	}
	return err
}

// Resolve implements kong.Resolver.
func (r *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if _, set := os.LookupEnv(r.env[flag.Name]); set {
		return nil, nil
	}
	return r.values[flag.Name], nil
}

// configFlag is the flag that names the configuration file.
const configFlag = "config"

// configFile is embedded by every command that reads the configuration file.
type configFile struct {
	Config string `env:"KMSD_CONFIG" placeholder:"FILE" help:"Read settings from this YAML file. Flags and variables of the environment win against it."`
}
