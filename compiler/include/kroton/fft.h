// Discrete Fourier transforms, by NumPy's names and meanings: forwards without a factor, backwards
// with 1 / n. There are no complex dtypes: a complex array is a pair of real ones.
//
//     auto spectrum = kt::rfft(signal);                        // (..., n / 2 + 1)
//     auto power = kt::square(spectrum.re) + kt::square(spectrum.im);
//     auto smooth = kt::irfft({spectrum.re * filter, spectrum.im * filter}, n);
//
// The sizes of the axes that are transformed are known when the expression is made (ShapeError);
// others may be free. A size is split into factors of at most 32, each a product with a small
// matrix of its own; one that has a prime factor above 64 is a convolution of a size that has not
// (Bluestein). So all sizes take O(n sqrt(n)) operations or less, which are products of matrices:
// they run in vectors, on all threads, ahead of time and on a GPU, and have gradients of any order.
// Cooley and Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series", 1965;
// Bluestein, "A Linear Filtering Approach to the Computation of Discrete Fourier Transform", 1970.
//
// Floating point only (TypeError). ValueError for an axis that is not there.
#pragma once
#include <kroton/ops.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace kroton {

// re + i im, of one dtype and shape. An empty `im` is zeros.
struct Complex {
  Complex(Tensor real, Tensor imaginary = {})  // NOLINT: a real one is one
      : re(std::move(real)), im(std::move(imaginary)) {}
  Tensor re, im;
};

// y[k] = sum over j of x[j] exp(-2 pi i j k / n) along the axis.
Complex fft(const Complex& x, int axis = -1,
            const Operand::Location& location = Operand::Location::current());
// x[j] = 1 / n sum over k of y[k] exp(2 pi i j k / n).
Complex ifft(const Complex& y, int axis = -1,
             const Operand::Location& location = Operand::Location::current());
// The first n / 2 + 1 elements of fft(x), which those of a real x are determined by.
Complex rfft(const Operand& x, int axis = -1);
// The real x of n elements with rfft(x) = y, for y of n / 2 + 1 elements (ShapeError). The
// imaginary parts of y[0], and for an even n of the last, are not read.
Tensor irfft(const Complex& y, std::int64_t n, int axis = -1,
             const Operand::Location& location = Operand::Location::current());

// ---- Along several axes, one after the other; the last of them is that of the half of rfftn.

Complex fftn(const Complex& x, const std::vector<int>& axes,
             const Operand::Location& location = Operand::Location::current());
Complex ifftn(const Complex& y, const std::vector<int>& axes,
              const Operand::Location& location = Operand::Location::current());
Complex rfftn(const Operand& x, const std::vector<int>& axes);
// n: of the last of the axes.
Tensor irfftn(const Complex& y, std::int64_t n, const std::vector<int>& axes,
              const Operand::Location& location = Operand::Location::current());

// ---- Frequencies

// Those of fft (rfft), in cycles per `spacing` of the samples: (n) (n / 2 + 1).
Tensor fftfreq(std::int64_t n, double spacing = 1, DType dtype = f64,
               const Operand::Location& location = Operand::Location::current());
Tensor rfftfreq(std::int64_t n, double spacing = 1, DType dtype = f64,
                const Operand::Location& location = Operand::Location::current());
// Frequency 0 moved to the middle, and back.
Tensor fftshift(const Operand& x, int axis = -1);
Tensor ifftshift(const Operand& x, int axis = -1);

}  // namespace kroton
