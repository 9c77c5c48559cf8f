package audit_test

import (
	"testing"

	"github.com/kmsd/kmsd/audit"
)

// fill makes the record of an Encrypt call as a handler does.
func fill(r *audit.Record, template *audit.Record, resources []audit.Resource, context map[string]string) {
	*r = *template
	r.RequestParameters.String("keyId", "alias/app")
	r.RequestParameters.String("encryptionAlgorithm", "SYMMETRIC_DEFAULT")
	r.RequestParameters.Map("encryptionContext", context)
	r.Resources = append(resources, key(keyARN))
}

func BenchmarkAppendJSON(b *testing.B) {
	template, context := newRecord("Encrypt"), map[string]string{"app": "x"}
	var line []byte
	b.ReportAllocs()
	for b.Loop() {
		var r audit.Record
		fill(&r, template, nil, context)
		line = r.AppendJSON(line[:0])
	}
	b.SetBytes(int64(len(line)))
}

// One caller at a time: the latency that a call pays.
func BenchmarkAppend(b *testing.B) {
	l := open(b, audit.Config{Dir: b.TempDir()})
	template, context := newRecord("Encrypt"), map[string]string{"app": "x"}
	b.ReportAllocs()
	for b.Loop() {
		var r audit.Record
		fill(&r, template, nil, context)
		if err := l.Append(b.Context(), &r); err != nil {
			b.Fatal(err)
		}
	}
}

// Many callers: records share writes.
func BenchmarkAppendParallel(b *testing.B) {
	l := open(b, audit.Config{Dir: b.TempDir()})
	template, context := newRecord("Encrypt"), map[string]string{"app": "x"}
	ctx := b.Context()
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var r audit.Record
			fill(&r, template, nil, context)
			if err := l.Append(ctx, &r); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkEncodeDecode(b *testing.B) {
	r := newRecord("CreateKey")
	createKey(r)
	b.ReportAllocs()
	for b.Loop() {
		encoded, err := r.Encode()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := audit.DecodeRecord(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
