#include "runtime/cuda/library.h"

#include <dlfcn.h>
#include <kroton/error.h>

#include <cstdlib>
#include <set>

namespace kroton::nvidia {

Library::Library(std::string what, const std::vector<std::string>& names) : what_(std::move(what)) {
  std::vector<std::string> paths = names;
  std::set<std::string> folders{"/usr/local/cuda/lib64/"};
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value && *value) folders.insert(value + std::string("/lib64/"));
  }
  for (const std::string& folder : folders) {
    for (const std::string& name : names) paths.push_back(folder + name);
  }
  std::string tried;
  for (const std::string& path : paths) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_) {
      path_ = path;
      return;
    }
    const char* reason = dlerror();
    tried += "\n  " + (reason ? std::string(reason) : path);
  }
  throw DeviceError(what_ + " is not on this machine; tried:" + tried);
}

void* Library::symbol(const char* name) const {
  void* address = dlsym(handle_, name);
  if (!address) throw DeviceError(what_ + " (" + path_ + ") has no function " + name);
  return address;
}

}  // namespace kroton::nvidia
