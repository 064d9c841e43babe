// Package spell measures how far apart two names are, for messages that ask "did you mean ...?".
package spell

import "unicode/utf8"

// maxLength is how many letters a name may have: anything longer is far from everything.
const maxLength = 64

// Distance is the number of letters to insert, delete, replace or swap with their neighbour that leads from a to b
// (optimal string alignment). A name of more than 64 letters is as far from every other as the longer one is long.
func Distance(a, b string) int {
	if n := max(utf8.RuneCountInString(a), utf8.RuneCountInString(b)); n > maxLength {
		return n
	}
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range y {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			replace := rows[i-1][j-1]
			if x[i-1] != y[j-1] {
				replace++
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(x)][len(y)]
}
