"use strict";
// Shows the value of a curve at the pointer, or at a place that the arrow keys move.
for (const figure of document.querySelectorAll("figure.curve")) {
	const svg = figure.querySelector("svg");
	const cursor = svg.querySelector(".cursor");
	const readout = figure.querySelector(".readout");
	const points = svg.dataset.points.split(" ").map((text) => text.split(";"));
	const before = readout.textContent;
	let at = points.length - 1;
	const show = (i) => {
		at = Math.max(0, Math.min(points.length - 1, i));
		const [step, value, x, y] = points[at];
		cursor.querySelector("line").setAttribute("x1", x);
		cursor.querySelector("line").setAttribute("x2", x);
		cursor.querySelector("circle").setAttribute("cx", x);
		cursor.querySelector("circle").setAttribute("cy", y);
		cursor.removeAttribute("visibility");
		readout.textContent = "step " + step + ": " + value + " " + svg.dataset.unit;
	};
	const hide = () => {
		cursor.setAttribute("visibility", "hidden");
		readout.textContent = before;
	};
	svg.setAttribute("tabindex", "0");
	svg.addEventListener("pointermove", (event) => {
		const matrix = svg.getScreenCTM();
		const x = (event.clientX - matrix.e) / matrix.a;
		const distances = points.map((p) => Math.abs(p[2] - x));
		show(distances.indexOf(Math.min(...distances)));
	});
	svg.addEventListener("pointerleave", hide);
	svg.addEventListener("focus", () => show(at));
	svg.addEventListener("blur", hide);
	svg.addEventListener("keydown", (event) => {
		const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -20, PageDown: 20, Home: -points.length, End: points.length }[event.key];
		if (move) {
			show(at + move);
			event.preventDefault();
		}
	});
}
