package unet

import "strings"

// OlderName is the name that older diffusers files give to a parameter of attention, and whether there is one:
// query, key, value and proj_attn for to_q, to_k, to_v and to_out.0.
func OlderName(name string) (string, bool) {
	i := strings.LastIndex(name, ".")
	if i < 0 || !strings.Contains(name, ".attentions.") {
		return "", false
	}
	module, leaf := name[:i], name[i:]
	for _, pair := range [][2]string{{".to_q", ".query"}, {".to_k", ".key"}, {".to_v", ".value"}, {".to_out.0", ".proj_attn"}} {
		if strings.HasSuffix(module, pair[0]) {
			return strings.TrimSuffix(module, pair[0]) + pair[1] + leaf, true
		}
	}
	return "", false
}
