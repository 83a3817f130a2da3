// For tests that compile much and run little.
#pragma once
#include "compiler/codegen/llvm/target.h"

// While it lives, functions are compiled to machine code that is made in half the time.
class QuickCode {
 public:
  explicit QuickCode(bool quick = true) { kroton::codegen::prefer_quick_code(quick); }
  ~QuickCode() { kroton::codegen::prefer_quick_code(false); }
  QuickCode(const QuickCode&) = delete;
  QuickCode& operator=(const QuickCode&) = delete;
};
