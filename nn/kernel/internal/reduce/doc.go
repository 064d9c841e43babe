// Package reduce adds up what several pieces of the images contribute to a gradient, in a fixed order.
package reduce
