package data

import (
	"fmt"
	"net/http"
)

// maxRedirects is how often a request is sent elsewhere, as net/http has it.
const maxRedirects = 10

// tlsOnly is a copy of the client that refuses redirects to anything but https.
func tlsOnly(c *http.Client) *http.Client {
	restricted, check := *c, c.CheckRedirect
	restricted.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		switch {
		case r.URL.Scheme != "https":
			return refusedError{fmt.Errorf("it redirects to %s, which is not https", r.URL.Redacted())}
		case check != nil:
			return check(r, via)
		case len(via) >= maxRedirects:
			return refusedError{fmt.Errorf("it redirects more than %d times", maxRedirects)}
		}
		return nil
	}
	return &restricted
}
