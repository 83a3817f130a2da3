// How many bits the indices of a call take, and quotients of those of 32.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "compiler/loop/ir.h"

namespace kroton::codegen {

// What is computed of the indices of a kernel.
struct KernelIndices {
  struct Name {
    loop::Variable variable;
    // It counts from 0 to below that, or is that.
    loop::Expr value;
    bool counts = true;
  };
  std::vector<Name> names;             // those that a value is made of first
  std::vector<loop::Expr> arithmetic;  // of names and sizes
  std::vector<Dim> sizes;              // that the kernel gets
};

// Between which numbers a value lies, both included.
struct ValueRange {
  std::int64_t low = 0, high = 0;
};
// Of a free size.
using RangeOfSize = std::function<ValueRange(const DimAtom& size)>;
// All numbers of as many bits: 0; 1; 2 and 3; 4 to 7, and so on.
ValueRange range_of_bits(int bits);

// Whether all of it fits in 32 bits, with what threads that have nothing to do compute beyond.
bool fits_in_32_bits(const KernelIndices& indices, const RangeOfSize& size);

// The text of kernels with indices of 64 bits.
std::string with_wide_indices(const std::string& source);

// What a kernel gets to divide numbers a from 0 to below 2^31 by d without a division: with
// 2^s >= d and m = ceil(2^(31 + s) / d), which fits in 32 bits,
//   floor(a / d) = floor(a * m / 2^(31 + s))
// since a * (m * d - 2^(31 + s)) < 2^31 * 2^s. m lies in the low half of the result, s in the high
// one. 0 where d does not lie from 1 to 2^31 - 1.
std::uint64_t division_by(std::int64_t d);

}  // namespace kroton::codegen
