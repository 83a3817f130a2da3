// Tests that run on the driver of the tests (tests/fake_driver) instead of this machine's.
#pragma once
#include <string>
#include <vector>

#include "tests/fake_driver/control.h"

namespace fake_driver {

// A test case that begins with
//   const fake_driver::Process process("devices=2");
//   if (!process) return;
// goes on in a process of its own whose CUDA driver, NVRTC and cuBLASLt are those of the tests, on
// the machine that the settings describe (control.h). At the end of the test in that process the
// driver must have nothing to complain about.
class Process {
 public:
  explicit Process(const std::string& settings = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Whether this is the test's own process.
  explicit operator bool() const { return control_ != nullptr; }
  const Control* operator->() const { return control_; }
  // A function of the driver, as another user of it in the same process calls it.
  template <class F>
  F* function(const char* name) const {
    return reinterpret_cast<F*>(symbol(name));
  }

 private:
  static void* symbol(const char* name);

  const Control* control_ = nullptr;
};

// Runs this program, doctest's, with these options on the driver of the tests. What it prints, if a
// test fails, none is run, or the driver has something to complain about. `environment` ("A=1 B=2")
// is added to what this process has.
std::string failures_of(const std::vector<std::string>& options, const std::string& environment);

}  // namespace fake_driver
