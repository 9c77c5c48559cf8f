package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// model is the part of a botocore service model that is used.
type model struct {
	Metadata struct {
		APIVersion   string `json:"apiVersion"`
		Protocol     string `json:"protocol"`
		TargetPrefix string `json:"targetPrefix"`
		XMLNamespace string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type operation struct {
	Name   string     `json:"name"`
	Input  *reference `json:"input"`
	Output *struct {
		reference
		ResultWrapper string `json:"resultWrapper"`
	} `json:"output"`
	Errors []reference `json:"errors"`
}

type reference struct {
	Shape        string `json:"shape"`
	LocationName string `json:"locationName"`
}

type shape struct {
	name      string
	Type      string     `json:"type"`
	Members   members    `json:"members"`
	Required  []string   `json:"required"`
	Member    *reference `json:"member"`
	Key       *reference `json:"key"`
	Value     *reference `json:"value"`
	Enum      []string   `json:"enum"`
	Min       *int       `json:"min"`
	Max       *int       `json:"max"`
	Pattern   string     `json:"pattern"`
	Sensitive bool       `json:"sensitive"`
	Flattened bool       `json:"flattened"`
	Error     struct {
		Code string `json:"code"`
	} `json:"error"`
}

// members are a structure's members in the order of declaration, which is the
// order of the checks and of the output.
type members []member

type member struct {
	Name string
	reference
}

// UnmarshalJSON keeps the order of the object's keys.
func (m *members) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		one := member{Name: key.(string)}
		if err := d.Decode(&one.reference); err != nil {
			return err
		}
		*m = append(*m, one)
	}
	return nil
}

func loadModel(path string) (*model, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	m := &model{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	for name, s := range m.Shapes {
		s.name = name
		s.Sensitive = s.Sensitive || sensitive[name]
	}
	return m, nil
}

// input returns the shape of an operation's input. Where the model has none it is
// a structure without members.
func (m *model) input(op *operation) *reference {
	if op.Input == nil {
		name := op.Name + "Request"
		m.Shapes[name] = &shape{name: name, Type: "structure"}
		op.Input = &reference{Shape: name}
	}
	return op.Input
}

// errorCode is what an error is called on the wire: in the query protocol the
// shape's code, in JSON its name.
func (m *model) errorCode(r *reference) string {
	if s := m.Shapes[r.Shape]; s != nil && s.Error.Code != "" && m.query() {
		return s.Error.Code
	}
	return r.Shape
}

func (m *model) query() bool { return m.Metadata.Protocol == "query" }

// shape returns the shape that r names.
func (m *model) shape(r *reference) (*shape, error) {
	if s := m.Shapes[r.Shape]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("shape %q is not in the model", r.Shape)
}
