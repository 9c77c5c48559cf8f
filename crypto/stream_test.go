package crypto_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/kmsd/kmsd/crypto"
)

const sealedChunk = crypto.ChunkSize + crypto.ChunkTagSize

func sealStream(t testing.TB, k *crypto.Keyring, plaintext []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := k.SealStream(&out, 42)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(plaintext); n != len(plaintext) || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func openStream(k *crypto.Keyring, sealed []byte) ([]byte, error) {
	r, err := k.OpenStream(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// pattern differs from chunk to chunk.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i>>16*31 ^ i>>8 ^ i)
	}
	return b
}

func TestStreamRoundTrip(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1, 2)
	const c = crypto.ChunkSize
	for _, n := range []int{0, 1, c - 1, c, c + 1, 2*c - 1, 2 * c, 2*c + 1, 5*c + 17} {
		plaintext := pattern(n)
		sealed := sealStream(t, k, plaintext)
		chunks := max(1, (n+c-1)/c)
		if want := k.StreamHeaderSize() + n + chunks*crypto.ChunkTagSize; len(sealed) != want {
			t.Errorf("%d bytes became %d, want %d", n, len(sealed), want)
		}
		if got, err := openStream(k, sealed); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
		r, err := k.OpenStream(iotest.OneByteReader(bytes.NewReader(sealed)))
		if err != nil {
			t.Fatal(err)
		}
		if n <= c+1 { // byte by byte is slow
			if err := iotest.TestReader(r, plaintext); err != nil {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
}

func TestStreamWriteSizesDoNotMatter(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	plaintext := pattern(3 * crypto.ChunkSize)
	for _, step := range []int{1000, crypto.ChunkSize, crypto.ChunkSize + 1} {
		var out bytes.Buffer
		w, err := k.SealStream(&out, 1)
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(plaintext, step) {
			if _, err := w.Write(part); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := openStream(k, out.Bytes()); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("steps of %d: %v", step, err)
		}
	}
}

// A new node has the root and no terms: the header brings them.
func TestStreamBringsTheTerms(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1, 2, 9)
	entry, secret := sealEntry(t, k, header, []byte("entry")), seal(t, k, "p", "id", []byte("secret"))
	fresh := newKeyring(t, cluster)
	if got, err := openStream(fresh, sealStream(t, k, []byte("state"))); err != nil || string(got) != "state" {
		t.Fatalf("got %q, %v", got, err)
	}
	if fresh.Current() != 9 {
		t.Errorf("term %d, want 9", fresh.Current())
	}
	if _, got, err := fresh.OpenEntry(entry); err != nil || string(got) != "entry" {
		t.Errorf("entry: %q, %v", got, err)
	}
	if got, err := fresh.Open("p", "id", secret); err != nil || string(got) != "secret" {
		t.Errorf("secret: %q, %v", got, err)
	}
}

// A snapshot that is older than the keyring takes nothing away.
func TestStreamKeepsNewerTerms(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster)
	terms := wrap(t, k, 1)
	load(t, k, terms)
	old := sealStream(t, k, nil)
	terms[2] = wrap(t, k, 2)[2]
	load(t, k, terms)
	if _, err := openStream(k, old); err != nil || k.Current() != 2 {
		t.Errorf("term %d, %v", k.Current(), err)
	}
}

func TestStreamOfAnotherOwnerSaysSo(t *testing.T) {
	t.Parallel()
	sealed := sealStream(t, newKeyring(t, cluster, 1), nil)
	for want, k := range map[string]*crypto.Keyring{
		"cluster":          newKeyring(t, "another-cluster", 1),
		"under root key":   crypto.NewKeyring(cluster, crypto.NewRoot()),
		"two different ke": newKeyring(t, cluster, 1),
	} {
		if _, err := openStream(k, sealed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if _, err := newKeyring(t, cluster).SealStream(io.Discard, 1); !errors.Is(err, crypto.ErrNoTerm) {
		t.Errorf("before the first term: %v", err)
	}
}

// refuseStream checks that a changed stream fails, and that it added no terms
// unless a whole verified chunk stands in it.
func refuseStream(t *testing.T, name string, sealed []byte) {
	t.Helper()
	k := newKeyring(t, cluster)
	got, err := openStream(k, sealed)
	if err == nil {
		t.Errorf("%s: opened, %d bytes", name, len(got))
	}
	if got == nil && k.Current() != 0 {
		t.Errorf("%s: a refused stream brought term %d", name, k.Current())
	}
}

func TestStreamRefusesEveryFlip(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1, 2)
	sealed := sealStream(t, k, []byte("state"))
	everyFlip(sealed, func(at int, changed []byte) { refuseStream(t, "flip", changed) })
	everyPrefix(sealed, func(cut []byte) { refuseStream(t, "cut", cut) })
	refuseStream(t, "trailing byte", append(bytes.Clone(sealed), 0))

	// In the chunks of a longer stream, around each border.
	long := sealStream(t, k, pattern(2*crypto.ChunkSize+100))
	for _, border := range []int{0, sealedChunk, 2 * sealedChunk, 2*sealedChunk + 116} {
		for _, at := range []int{border - 1, border} {
			if at += k.StreamHeaderSize(); at < len(long) {
				changed := bytes.Clone(long)
				changed[at] ^= 0x80
				refuseStream(t, "flip in a long stream", changed)
			}
		}
	}
}

func TestStreamRefusesCutReorderedAndContinued(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	sealed := sealStream(t, k, pattern(3*crypto.ChunkSize))
	head, body := sealed[:k.StreamHeaderSize()], sealed[k.StreamHeaderSize():]
	chunks := slices.Collect(slices.Chunk(body, sealedChunk))
	a, b, c := chunks[0], chunks[1], chunks[2]
	other := sealStream(t, k, pattern(3*crypto.ChunkSize))[len(head):]
	empty := sealStream(t, k, nil)[len(head):]
	join := func(parts ...[]byte) []byte { return slices.Concat(append([][]byte{head}, parts...)...) }

	if _, err := openStream(k, join(a, b, c)); err != nil {
		t.Fatalf("the control does not open: %v", err)
	}
	for name, sealed := range map[string][]byte{
		"header only":            join(),
		"last chunk missing":     join(a, b),
		"two missing":            join(a),
		"cut within a chunk":     join(a, b[:100]),
		"cut by one byte":        join(a, b, c[:len(c)-1]),
		"cut before the tag":     join(a, b, c[:8]),
		"swapped":                join(b, a, c),
		"repeated":               join(a, a, b, c),
		"first missing":          join(b, c),
		"last twice":             join(a, b, c, c),
		"continued":              join(a, b, c, []byte{0}),
		"chunk of another":       join(a, other[sealedChunk:2*sealedChunk], c),
		"end of another":         join(a, b, other[2*sealedChunk:]),
		"an empty end":           join(a, b, empty),
		"the empty stream's end": join(empty),
		"all of another":         join(other),
	} {
		refuseStream(t, name, sealed)
	}
}

// Even who knows the keys cannot give one plaintext two encodings: a last chunk
// that is empty though others precede it is refused.
func TestStreamRefusesAnEmptyLastChunk(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	sealed := crypto.SealStreamEmptyEnd(k, pattern(crypto.ChunkSize))
	got, err := openStream(k, sealed)
	if !errors.Is(err, crypto.ErrOpen) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestStreamHeaderIsBounded(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	sealed := sealStream(t, k, nil)
	countAt := k.StreamHeaderSize() - crypto.WrappedTermSize - 4 - 2
	if got := binary.BigEndian.Uint16(sealed[countAt:]); got != 1 {
		t.Fatalf("this is not the number of terms: %d", got)
	}
	for _, n := range []uint16{0, crypto.MaxStreamTerms + 1, 0xffff} {
		binary.BigEndian.PutUint16(sealed[countAt:], n)
		refuseStream(t, "number of terms", sealed)
	}
	repeated := slices.Concat(sealed[:k.StreamHeaderSize()], sealed[countAt+2:])
	binary.BigEndian.PutUint16(repeated[countAt:], 2)
	refuseStream(t, "repeated term", repeated)
}

func TestStreamPassesErrorsOn(t *testing.T) {
	t.Parallel()
	k := newKeyring(t, cluster, 1)
	broken := errors.New("broken")
	sealed := sealStream(t, k, pattern(2*crypto.ChunkSize))
	for _, at := range []int{0, 10, k.StreamHeaderSize(), k.StreamHeaderSize() + sealedChunk, len(sealed)} {
		r, err := k.OpenStream(io.MultiReader(bytes.NewReader(sealed[:at]), iotest.ErrReader(broken)))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if !errors.Is(err, broken) {
			t.Errorf("read failed at %d: got %v", at, err)
		}
	}
	for _, room := range []int{0, k.StreamHeaderSize(), k.StreamHeaderSize() + sealedChunk} {
		w, err := k.SealStream(&fullDisk{room: room, err: broken}, 1)
		if err == nil {
			_, err = w.Write(pattern(3 * crypto.ChunkSize))
			if closeErr := w.Close(); !errors.Is(closeErr, broken) {
				t.Errorf("room for %d: Close gives %v", room, closeErr)
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("room for %d: got %v", room, err)
		}
	}
}

// fullDisk takes room bytes.
type fullDisk struct {
	room int
	err  error
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.room -= len(p); d.room < 0 {
		return 0, d.err
	}
	return len(p), nil
}

func TestStreamAfterClose(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w, err := newKeyring(t, cluster, 1).SealStream(&out, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), w.Close()); err != nil {
		t.Error(err)
	}
	size := out.Len()
	if _, err := w.Write([]byte("more")); err == nil || out.Len() != size {
		t.Errorf("written after Close: %v", err)
	}
}

// The golden stream is the only one that exists under the golden keyring.
func FuzzOpenStream(f *testing.F) {
	k, g := goldenKeyring(f)
	f.Add([]byte(g.Stream))
	f.Add([]byte(g.Stream[:len(g.Stream)-1]))
	f.Add([]byte("KMSDSNAP"))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if got, err := openStream(k, sealed); err == nil && !bytes.Equal(sealed, g.Stream) {
			t.Fatalf("forged: %q", got)
		}
	})
}
