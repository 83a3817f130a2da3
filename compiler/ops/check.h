// Conditions that values are held to at the call.
#pragma once
#include <kroton/tensor.h>

namespace kroton::ops {

// x, where the condition holds; else the call ends with a ValueError: `text`, in which %index and
// %size are the numbers, i64, and the user's line. All are broadcast towards x.
Tensor checked(const Tensor& x, const Tensor& condition, const Tensor& index, const Tensor& size,
               const std::string& text);

// The text with the numbers in it.
std::string with_numbers(std::string text, std::int64_t index, std::int64_t size);

}  // namespace kroton::ops
