#include "runtime/cuda/library.h"

#include <dlfcn.h>
#include <kroton/error.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

namespace kroton::nvidia {
namespace {

// Folders that are looked into: before the loader's, and after them.
std::vector<std::string> folders_first() {
  std::vector<std::string> folders;
  const char* value = std::getenv("KROTON_CUDA_LIBRARIES");
  std::istringstream list(value ? value : "");
  for (std::string folder; std::getline(list, folder, ':');) {
    if (!folder.empty()) folders.push_back(folder + "/");
  }
  return folders;
}

std::vector<std::string> folders_last() {
  std::vector<std::string> roots;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    const char* value = std::getenv(variable);
    if (value && *value) roots.emplace_back(value);
  }
  roots.emplace_back("/usr/local/cuda");
  std::vector<std::string> folders;
  for (const std::string& root : roots) {
    for (const char* part : {"/lib64/", "/lib/"}) {
      const std::string folder = root + part;
      if (std::find(folders.begin(), folders.end(), folder) == folders.end()) {
        folders.push_back(folder);
      }
    }
  }
  return folders;
}

}  // namespace

Library::Library(std::string what, const std::vector<std::string>& names) : what_(std::move(what)) {
  std::vector<std::string> paths;
  for (const std::string& folder : folders_first()) {
    for (const std::string& name : names) paths.push_back(folder + name);
  }
  paths.insert(paths.end(), names.begin(), names.end());
  for (const std::string& folder : folders_last()) {
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

void* Library::symbol_if_there(const char* name) const { return dlsym(handle_, name); }

void* Library::symbol(const char* name) const {
  void* address = symbol_if_there(name);
  if (!address) throw DeviceError(what_ + " (" + path_ + ") has no function " + name);
  return address;
}

std::vector<std::string> library_names(const std::string& library,
                                       const std::vector<std::string>& versions, int driver) {
  std::vector<std::string> names, newer;
  for (const std::string& version : versions) {
    const bool is_newer = driver > 0 && std::stoi(version) > driver;
    (is_newer ? newer : names).push_back(library + "." + version);
  }
  names.insert(names.end(), newer.rbegin(), newer.rend());
  names.push_back(library);
  return names;
}

}  // namespace kroton::nvidia
