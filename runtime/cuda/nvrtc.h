// NVRTC, NVIDIA's compiler of CUDA C++ as a library, loaded at run time.
#pragma once
#include <string>
#include <vector>

namespace kroton::nvidia {

class Nvrtc {
 public:
  // Loaded at the first call. DeviceError that says what was looked for if it is not there.
  static const Nvrtc& get();

  const std::string& path() const;
  // "13.0"
  const std::string& version() const { return version_; }
  // Compute capabilities that it generates code for, ascending: 75 for 7.5.
  const std::vector<int>& architectures() const { return architectures_; }

  // Code for one compute capability: a cubin, or, for one newer than the library knows, PTX of the
  // newest it does know, which the driver finishes. Arithmetic is done as written: no product and
  // sum become one operation unless the text says so. InternalError with the compiler's log when
  // the text does not compile; DeviceError when the capability is older than the library knows.
  // What was compiled before comes from the on-disk cache.
  std::string compile(const std::string& source, const std::string& name, int capability) const;

 private:
  Nvrtc();

  std::string version_;
  std::vector<int> architectures_;
};

}  // namespace kroton::nvidia
