package wire

// number reads the JSON number at the current position and returns its literal.
func (r *Reader) number() []byte {
	start := r.pos
	if r.at(start) == '-' {
		r.pos++
	}
	switch c := r.at(r.pos); {
	case c == '0':
		r.pos++
	case !r.digits():
		return nil
	}
	if r.at(r.pos) == '.' {
		r.pos++
		if !r.digits() {
			return nil
		}
	}
	if r.at(r.pos)|0x20 == 'e' {
		r.pos++
		if c := r.at(r.pos); c == '+' || c == '-' {
			r.pos++
		}
		if !r.digits() {
			return nil
		}
	}
	return r.body[start:r.pos]
}

// digits steps over at least one digit.
func (r *Reader) digits() bool {
	start := r.pos
	for isDigit(r.at(r.pos)) {
		r.pos++
	}
	if r.pos == start {
		r.fail("")
		return false
	}
	return true
}

func (r *Reader) at(i int) byte {
	if i < len(r.body) {
		return r.body[i]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

const (
	// maxScaled bounds what scaled returns; 10 × maxScaled + 9 fits in 64 bits.
	maxScaled = 100_000_000_000_000_000
	// maxExponent is where scaled stops counting: beyond it every value is zero
	// or too large, whatever a body of MaxBody digits does.
	maxExponent = 100_000_000
)

// scaled returns literal × 10^shift without the digits behind the point. exact
// says that those were zeros, ok that the magnitude is at most maxScaled.
func scaled(literal []byte, shift int) (v int64, exact, ok bool) {
	negative := literal[0] == '-'
	if negative {
		literal = literal[1:]
	}
	digits, point := split(literal)
	point += shift
	exact = true
	for i, n := 0, 0; i < len(digits); i++ {
		c := digits[i]
		if c == '.' {
			continue
		}
		if n++; n > point {
			exact = exact && c == '0'
		} else if v = v*10 + int64(c-'0'); v > maxScaled {
			return 0, false, false
		}
	}
	for n := len(digits) - countPoint(digits); n < point && v != 0; n++ {
		if v *= 10; v > maxScaled {
			return 0, false, false
		}
	}
	if negative {
		v = -v
	}
	return v, exact, true
}

// split returns the literal's digits (with their point) and how many digits
// stand before the point once the exponent is applied.
func split(literal []byte) (digits []byte, point int) {
	point = -1
	for i, c := range literal {
		switch {
		case c == '.':
			point = i
		case c|0x20 == 'e':
			if point < 0 {
				point = i
			}
			return literal[:i], point + exponent(literal[i+1:])
		}
	}
	if point < 0 {
		point = len(literal)
	}
	return literal, point
}

func exponent(b []byte) int {
	negative := b[0] == '-'
	if negative || b[0] == '+' {
		b = b[1:]
	}
	e := 0
	for _, c := range b {
		if e < maxExponent {
			e = e*10 + int(c-'0')
		}
	}
	if negative {
		return -e
	}
	return e
}

func countPoint(digits []byte) int {
	for _, c := range digits {
		if c == '.' {
			return 1
		}
	}
	return 0
}
