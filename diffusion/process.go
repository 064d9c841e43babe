package diffusion

import "math"

// Real is the element type of images: training runs in float32, sampling in
// float64. Products are wrapped in conversions, so that no compiler fuses them
// and every architecture rounds alike.
type Real interface{ float32 | float64 }

// combine is dst = a x + b y, elementwise; dst may be x or y.
func combine[F Real](dst []F, a float64, x []F, b float64, y []F) {
	fa, fb := F(a), F(b)
	for j := range dst {
		dst[j] = F(fa*x[j]) + F(fb*y[j])
	}
}

// QSample draws x_t from q(x_t | x_0) with the noise eps ~ N(0, I):
//
//	x_t = sqrt(alphaBar_t) x_0 + sqrt(1 - alphaBar_t) eps
//
// (Ho et al. 2020, eq. 4). xt, x0 and eps hold one image each.
func QSample[F Real](s *Schedule, xt, x0, eps []F, t int) {
	a := s.alphaBarAt(t)
	combine(xt, math.Sqrt(a), x0, math.Sqrt(1-a), eps)
}

// velocity is v = sqrt(alphaBar_t) eps - sqrt(1 - alphaBar_t) x_0 (Salimans
// and Ho, "Progressive Distillation", 2022, section 4).
func velocity[F Real](s *Schedule, v, x0, eps []F, t int) {
	a := s.alphaBarAt(t)
	combine(v, math.Sqrt(a), eps, -math.Sqrt(1-a), x0)
}

// Target is what the model should predict from x_t: eps, x_0 or v, by the
// config's prediction_type.
func Target[F Real](s *Schedule, target, x0, eps []F, t int) {
	switch s.Config.PredictionType {
	case Epsilon:
		copy(target, eps)
	case SampleX0:
		copy(target, x0)
	default:
		velocity(s, target, x0, eps, t)
	}
}

// PredictEps is the guess of eps that the model's output for x_t implies.
func PredictEps[F Real](s *Schedule, eps, xt, out []F, t int) {
	epsOf(s.Config.PredictionType, s.alphaBarAt(t), eps, xt, out)
}

// Score is the score of x_t's density, grad log q(x_t) = -eps / sqrt(1 -
// alphaBar_t) (Song et al., "Score-Based Generative Modeling", 2021).
func Score[F Real](s *Schedule, score, eps []F, t int) {
	d := F(math.Sqrt(1 - s.alphaBarAt(t)))
	for j, e := range eps {
		score[j] = -e / d
	}
}

// x0Of solves x = sqrt(alphaBar) x_0 + sqrt(1-alphaBar) eps for x_0.
func x0Of[F Real](predicts string, alphaBar float64, x0, x, out []F) {
	switch predicts {
	case Epsilon:
		epsToX0(alphaBar, x0, x, out)
	case SampleX0:
		copy(x0, out)
	default: // v
		combine(x0, math.Sqrt(alphaBar), x, -math.Sqrt(1-alphaBar), out)
	}
}

// epsOf solves the same equation for eps.
func epsOf[F Real](predicts string, alphaBar float64, eps, x, out []F) {
	switch predicts {
	case Epsilon:
		copy(eps, out)
	case SampleX0:
		x0ToEps(alphaBar, eps, x, out)
	default: // v
		combine(eps, math.Sqrt(alphaBar), out, math.Sqrt(1-alphaBar), x)
	}
}

// epsToX0 is x_0 = (x - sqrt(1-alphaBar) eps) / sqrt(alphaBar).
func epsToX0[F Real](alphaBar float64, x0, x, eps []F) {
	a, b := F(math.Sqrt(alphaBar)), F(math.Sqrt(1-alphaBar))
	for j := range x0 {
		x0[j] = (x[j] - F(b*eps[j])) / a
	}
}

// x0ToEps is eps = (x - sqrt(alphaBar) x_0) / sqrt(1-alphaBar).
func x0ToEps[F Real](alphaBar float64, eps, x, x0 []F) {
	a, b := F(math.Sqrt(alphaBar)), F(math.Sqrt(1-alphaBar))
	for j := range eps {
		eps[j] = (x[j] - F(a*x0[j])) / b
	}
}

// snr is the signal-to-noise ratio alphaBar_t / (1 - alphaBar_t).
func (s *Schedule) snr(t int) float64 {
	a := s.alphaBarAt(t)
	return a / (1 - a)
}

// MinSNRWeight is the weight of the squared error at t by Hang et al.,
// "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023: the
// weight min(SNR, gamma) of an error in x_0, written for what the model
// predicts. gamma is above 0; the paper's is 5.
func (s *Schedule) MinSNRWeight(t int, gamma float64) float64 {
	snr := s.snr(t)
	switch w := min(snr, gamma); s.Config.PredictionType {
	case Epsilon:
		return w / snr
	case SampleX0:
		return w
	default: // v
		return w / (snr + 1)
	}
}
