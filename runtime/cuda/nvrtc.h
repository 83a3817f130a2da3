// NVRTC, NVIDIA's compiler of CUDA C++ as a library, loaded at run time.
#pragma once
#include <memory>
#include <string>
#include <vector>

namespace kroton::nvidia {

struct NvrtcApi;

class Nvrtc {
 public:
  // The names that the library may have, the best first for a driver of that major version.
  static std::vector<std::string> names(int driver);
  // The first of these that is on this machine, loaded at its first use and kept. DeviceError that
  // says what was looked for if there is none.
  static const Nvrtc& load(const std::vector<std::string>& names);
  // The newest.
  static const Nvrtc& get() { return load(names(0)); }

  explicit Nvrtc(const std::vector<std::string>& names);
  ~Nvrtc();
  Nvrtc(const Nvrtc&) = delete;
  Nvrtc& operator=(const Nvrtc&) = delete;

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
  void check(int result, const char* what) const;

  std::unique_ptr<const NvrtcApi> api_;
  std::string version_;
  std::vector<int> architectures_;
};

}  // namespace kroton::nvidia
