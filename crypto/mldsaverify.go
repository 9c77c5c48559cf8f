package crypto

import (
	"bytes"
	"crypto/sha3"
	"math/bits"
)

// Parameters that all sets of ML-DSA share (FIPS 204 §4, table 1).
const (
	mldsaQ = 8380417
	mldsaN = 256
	mldsaD = 13 // bits dropped from t
	// mldsaInverseN is 256^-1 modulo q (algorithm 42, line 21).
	mldsaInverseN = 8347681
	// mldsaZeta is a 512th root of unity modulo q (§2.5).
	mldsaZeta = 1753

	mldsaSeedSize   = 32
	mldsaT1Bits     = 10
	mldsaT1PolySize = mldsaN * mldsaT1Bits / 8
)

// muVerifier verifies ML-DSA signatures against μ, the hash of the public key and the
// message: ML-DSA.Verify_internal (FIPS 204, algorithm 8) from line 7 on, with the
// parameters of table 1. It handles public values only, and so need not be constant-time.
// It is no faster than it must be; signatures of RAW messages do not come here.
type muVerifier struct {
	k, l      int    // rows and columns of the matrix
	tau       int    // nonzero coefficients of c
	gamma1Log int    // the range of z: γ1 is 2 to this power
	gamma2    uint32 // the range of low-order rounding
	beta      uint32 // τ·η
	omega     int    // hints at most
	challenge int    // bytes of c̃
}

var (
	muVerifier44 = muVerifier{k: 4, l: 4, tau: 39, gamma1Log: 17, gamma2: (mldsaQ - 1) / 88, beta: 78, omega: 80, challenge: 32}
	muVerifier65 = muVerifier{k: 6, l: 5, tau: 49, gamma1Log: 19, gamma2: (mldsaQ - 1) / 32, beta: 196, omega: 55, challenge: 48}
	muVerifier87 = muVerifier{k: 8, l: 7, tau: 60, gamma1Log: 19, gamma2: (mldsaQ - 1) / 32, beta: 120, omega: 75, challenge: 64}
)

// mldsaPoly is an element of R_q or of T_q: coefficients from 0 to q−1.
type mldsaPoly [mldsaN]uint32

// verify tells whether signature is valid for μ under the encoded public key, which has
// been found to have the right length.
func (v muVerifier) verify(public []byte, mu [externalMuSize]byte, signature []byte) bool {
	challenge, z, hints, ok := v.decodeSignature(signature)
	if !ok {
		return false
	}
	for i := range z {
		z[i].ntt()
	}
	rho, t1 := public[:mldsaSeedSize], public[mldsaSeedSize:]
	c := v.sampleInBall(challenge)
	c.ntt()
	h := sha3.NewSHAKE256()
	_, _ = h.Write(mu[:])
	for i := range v.k {
		// w = A·z − c·t1·2^d, row by row.
		var w mldsaPoly
		for j := range v.l {
			w.addProduct(expandA(rho, i, j), &z[j])
		}
		row := unpackBits(t1[i*mldsaT1PolySize:][:mldsaT1PolySize], mldsaT1Bits)
		for n := range row {
			row[n] = mldsaNegate(row[n] << mldsaD) // below q: 10 + 13 bits of t, and t < q
		}
		row.ntt()
		w.addProduct(&row, c)
		w.inverseNTT()
		_, _ = h.Write(v.encodeW1(v.useHints(&w, &hints[i])))
	}
	again := make([]byte, v.challenge)
	_, _ = h.Read(again)
	return bytes.Equal(again, challenge)
}

// decodeSignature is sigDecode (algorithm 27) with line 13 of algorithm 8: z is short.
func (v muVerifier) decodeSignature(signature []byte) (challenge []byte, z []mldsaPoly, hints [][mldsaN]bool, ok bool) {
	width := v.gamma1Log + 1
	polySize := mldsaN * width / 8
	if len(signature) != v.challenge+v.l*polySize+v.omega+v.k {
		return nil, nil, nil, false
	}
	challenge, rest := signature[:v.challenge], signature[v.challenge:]
	z = make([]mldsaPoly, v.l)
	gamma1 := uint32(1) << v.gamma1Log
	for i := range z {
		z[i] = unpackBits(rest[i*polySize:][:polySize], width)
		for n, packed := range z[i] {
			// The coefficient is γ1 − packed, and its absolute value must be below γ1 − β.
			if packed <= v.beta || packed >= 2*gamma1-v.beta {
				return nil, nil, nil, false
			}
			z[i][n] = (gamma1 + mldsaQ - packed) % mldsaQ
		}
	}
	hints, ok = v.decodeHints(rest[v.l*polySize:])
	return challenge, z, hints, ok
}

// decodeHints is HintBitUnpack (algorithm 21): the positions of each polynomial rise, and
// those that are not used are zero.
func (v muVerifier) decodeHints(encoded []byte) ([][mldsaN]bool, bool) {
	hints := make([][mldsaN]bool, v.k)
	positions, ends := encoded[:v.omega], encoded[v.omega:]
	start := 0
	for i := range hints {
		end := int(ends[i])
		if end < start || end > v.omega {
			return nil, false
		}
		for at := start; at < end; at++ {
			if at > start && positions[at] <= positions[at-1] {
				return nil, false
			}
			hints[i][positions[at]] = true
		}
		start = end
	}
	for _, unused := range positions[start:] {
		if unused != 0 {
			return nil, false
		}
	}
	return hints, true
}

// sampleInBall is algorithm 29: τ coefficients of 1 or −1, the others 0.
func (v muVerifier) sampleInBall(challenge []byte) *mldsaPoly {
	h := sha3.NewSHAKE256()
	_, _ = h.Write(challenge)
	var signs [8]byte
	_, _ = h.Read(signs[:])
	c := new(mldsaPoly)
	for n := range v.tau {
		i := mldsaN - v.tau + n
		j := byteUpTo(h, i)
		c[i], c[j] = c[j], 1
		if signs[n/8]>>(n%8)&1 == 1 {
			c[j] = mldsaQ - 1
		}
	}
	return c
}

// byteUpTo reads bytes until one is at most limit.
func byteUpTo(h *sha3.SHAKE, limit int) int {
	var b [1]byte
	for {
		_, _ = h.Read(b[:])
		if int(b[0]) <= limit {
			return int(b[0])
		}
	}
}

// useHints is UseHint (algorithm 40) for every coefficient, with Decompose (algorithm
// 36).
func (v muVerifier) useHints(w *mldsaPoly, hints *[mldsaN]bool) *mldsaPoly {
	buckets := (mldsaQ - 1) / (2 * v.gamma2)
	w1 := new(mldsaPoly)
	for n, r := range w {
		// high·2γ2 is the multiple nearest to r; low tells whether r is above it.
		high := (r + v.gamma2 - 1) / (2 * v.gamma2)
		above := r > high*2*v.gamma2
		if high == buckets { // r − low = q − 1
			high, above = 0, false
		}
		switch {
		case hints[n] && above:
			high = (high + 1) % buckets
		case hints[n]:
			high = (high + buckets - 1) % buckets
		}
		w1[n] = high
	}
	return w1
}

// encodeW1 is w1Encode (algorithm 28) for one polynomial.
func (v muVerifier) encodeW1(w1 *mldsaPoly) []byte {
	width := bits.Len32((mldsaQ-1)/(2*v.gamma2) - 1)
	out := make([]byte, 0, mldsaN*width/8)
	buffer, filled := uint32(0), 0
	for _, c := range w1 {
		buffer |= c << filled
		for filled += width; filled >= 8; filled -= 8 {
			out = append(out, byte(buffer))
			buffer >>= 8
		}
	}
	return out
}

// unpackBits reads 256 numbers of width bits, the lowest bit first (algorithm 18).
func unpackBits(packed []byte, width int) (p mldsaPoly) {
	buffer, filled := uint32(0), 0
	for n := range p {
		for ; filled < width; filled += 8 {
			buffer |= uint32(packed[0]) << filled
			packed = packed[1:]
		}
		p[n] = buffer & (1<<width - 1)
		buffer >>= width
		filled -= width
	}
	return p
}

// expandA is one polynomial of ExpandA (algorithm 32): RejNTTPoly (algorithm 30).
func expandA(rho []byte, row, column int) *mldsaPoly {
	g := sha3.NewSHAKE128()
	_, _ = g.Write(rho)
	_, _ = g.Write([]byte{byte(column), byte(row)})
	a, b := new(mldsaPoly), [3]byte{}
	for n := 0; n < mldsaN; {
		_, _ = g.Read(b[:])
		if c := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2]&0x7f)<<16; c < mldsaQ {
			a[n] = c
			n++
		}
	}
	return a
}

// mldsaZetas are ζ^brv(m) modulo q (FIPS 204, appendix B).
var mldsaZetas = func() (zetas [mldsaN]uint32) {
	for m := range zetas {
		power := uint32(1)
		for range bits.Reverse8(uint8(m)) {
			power = mldsaMultiply(power, mldsaZeta)
		}
		zetas[m] = power
	}
	return zetas
}()

func mldsaMultiply(a, b uint32) uint32 { return uint32(uint64(a) * uint64(b) % mldsaQ) }

func mldsaAdd(a, b uint32) uint32 { return (a + b) % mldsaQ }

func mldsaNegate(a uint32) uint32 { return (mldsaQ - a) % mldsaQ }

// addProduct adds a·b, all three in T_q.
func (p *mldsaPoly) addProduct(a, b *mldsaPoly) {
	for n := range p {
		p[n] = mldsaAdd(p[n], mldsaMultiply(a[n], b[n]))
	}
}

// ntt is algorithm 41.
func (p *mldsaPoly) ntt() {
	m := 0
	for size := mldsaN / 2; size >= 1; size /= 2 {
		for start := 0; start < mldsaN; start += 2 * size {
			m++
			for j := start; j < start+size; j++ {
				t := mldsaMultiply(mldsaZetas[m], p[j+size])
				p[j], p[j+size] = mldsaAdd(p[j], t), mldsaAdd(p[j], mldsaNegate(t))
			}
		}
	}
}

// inverseNTT is algorithm 42.
func (p *mldsaPoly) inverseNTT() {
	m := mldsaN
	for size := 1; size < mldsaN; size *= 2 {
		for start := 0; start < mldsaN; start += 2 * size {
			m--
			zeta := mldsaNegate(mldsaZetas[m])
			for j := start; j < start+size; j++ {
				a, b := p[j], p[j+size]
				p[j], p[j+size] = mldsaAdd(a, b), mldsaMultiply(zeta, mldsaAdd(a, mldsaNegate(b)))
			}
		}
	}
	for n := range p {
		p[n] = mldsaMultiply(p[n], mldsaInverseN)
	}
}
