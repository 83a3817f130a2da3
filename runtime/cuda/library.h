// A shared library that is found when it is needed, or not at all.
#pragma once
#include <string>
#include <vector>

namespace kroton::nvidia {

class Library {
 public:
  // Tries `names` in the folders of $KROTON_CUDA_LIBRARIES, where the system's loader looks, then
  // in the library folders of $CUDA_HOME, $CUDA_PATH and /usr/local/cuda. DeviceError that begins
  // with `what` ("the CUDA driver") and lists what was tried if none can be loaded. Libraries stay
  // loaded until the process ends.
  Library(std::string what, const std::vector<std::string>& names);

  // The function of that name. DeviceError that names library and function if there is none.
  template <class F>
  void find(F*& function, const char* name) const {
    function = reinterpret_cast<F*>(symbol(name));
  }

  // The same; null if there is none.
  template <class F>
  void find_if_there(F*& function, const char* name) const {
    function = reinterpret_cast<F*>(symbol_if_there(name));
  }

  const std::string& path() const { return path_; }

 private:
  void* symbol(const char* name) const;
  void* symbol_if_there(const char* name) const;

  std::string what_;
  std::string path_;
  void* handle_ = nullptr;
};

// File names of a library of CUDA's that goes with a driver of that major version, the best first:
// of the same version, of older ones, of newer ones, of any. `versions` are those known, the newest
// first ("13", "11.2"). A driver runs what older libraries make, but not always what newer ones do.
// Version 0: that of no driver, the newest first.
std::vector<std::string> library_names(const std::string& library,
                                       const std::vector<std::string>& versions, int driver);

}  // namespace kroton::nvidia
