#include "runtime/cuda/nvrtc.h"

#include <kroton/error.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>

#include "runtime/cache.h"
#include "runtime/cuda/library.h"
#include "runtime/cuda/nvrtc_api.h"

namespace kroton::nvidia {
namespace {

// Numbers of lines, for the log to refer to.
std::string numbered(const std::string& text) {
  std::string result;
  int number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t end = std::min(text.find('\n', at), text.size() - 1);
    result += std::to_string(number) + "  " + text.substr(at, end + 1 - at);
    at = end + 1;
  }
  return result;
}

}  // namespace

std::vector<std::string> Nvrtc::names(int driver) {
  return library_names("libnvrtc.so", {"13", "12", "11.2"}, driver);
}

const Nvrtc& Nvrtc::load(const std::vector<std::string>& names) {
  // Never destroyed: functions in static variables of the program may be compiled late.
  static auto* const loaded = new std::map<std::vector<std::string>, std::unique_ptr<Nvrtc>>;
  static auto* const mutex = new std::mutex;
  const std::lock_guard lock(*mutex);
  std::unique_ptr<Nvrtc>& found = (*loaded)[names];
  if (!found) found = std::make_unique<Nvrtc>(names);
  return *found;
}

void Nvrtc::check(nvrtcResult result, const char* what) const {
  if (result == 0) return;
  throw DeviceError("NVRTC (" + path() + "): " + what + ": " + api_->nvrtcGetErrorString(result));
}

Nvrtc::Nvrtc(const std::vector<std::string>& names)
    : api_(std::make_unique<const NvrtcApi>(names)) {
  int major = 0, minor = 0, count = 0;
  check(api_->nvrtcVersion(&major, &minor), "nvrtcVersion");
  version_ = std::to_string(major) + "." + std::to_string(minor);
  check(api_->nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
  architectures_.resize(static_cast<std::size_t>(count));
  check(api_->nvrtcGetSupportedArchs(architectures_.data()), "nvrtcGetSupportedArchs");
  std::sort(architectures_.begin(), architectures_.end());
}

Nvrtc::~Nvrtc() = default;

const std::string& Nvrtc::path() const { return api_->loaded.path(); }

std::string Nvrtc::compile(const std::string& source, const std::string& name,
                           int capability) const {
  const auto above = std::upper_bound(architectures_.begin(), architectures_.end(), capability);
  if (above == architectures_.begin()) {
    throw DeviceError("NVRTC " + version_ + " (" + path() +
                      ") generates no code for compute capability " +
                      std::to_string(capability / 10) + "." + std::to_string(capability % 10));
  }
  const int known = *(above - 1);
  const bool exact = known == capability;
  const std::string architecture =
      (exact ? "--gpu-architecture=sm_" : "--gpu-architecture=compute_") + std::to_string(known);
  const char* options[] = {architecture.c_str(), "--std=c++17", "--fmad=false"};

  std::string identity = "NVRTC " + version_;
  for (const std::string_view part : {options[0], options[1], options[2], name.c_str()}) {
    identity += '\n';
    identity += part;
  }
  const Digest key = sha256(identity + '\n' + source);
  const Cache cache = Cache::from_environment();
  if (std::optional<std::string> kept = cache.load(key)) return std::move(*kept);

  struct Holder {
    const NvrtcApi& api;
    nvrtcProgram program = nullptr;
    ~Holder() {
      if (program) api.nvrtcDestroyProgram(&program);
    }
  } holder{*api_};
  check(api_->nvrtcCreateProgram(&holder.program, source.c_str(), (name + ".cu").c_str(), 0,
                                 nullptr, nullptr),
        "nvrtcCreateProgram");
  const nvrtcResult result = api_->nvrtcCompileProgram(holder.program, 3, options);
  if (result != 0) {
    std::size_t length = 0;
    check(api_->nvrtcGetProgramLogSize(holder.program, &length), "nvrtcGetProgramLogSize");
    std::string log(length, '\0');
    check(api_->nvrtcGetProgramLog(holder.program, log.data()), "nvrtcGetProgramLog");
    throw InternalError("NVRTC " + version_ + ": " + name + " does not compile (" +
                        api_->nvrtcGetErrorString(result) + ")\n" + log.c_str() + numbered(source));
  }
  std::size_t bytes = 0;
  check(exact ? api_->nvrtcGetCUBINSize(holder.program, &bytes)
              : api_->nvrtcGetPTXSize(holder.program, &bytes),
        "size of the code");
  std::string image(bytes, '\0');
  check(exact ? api_->nvrtcGetCUBIN(holder.program, image.data())
              : api_->nvrtcGetPTX(holder.program, image.data()),
        "the code");
  cache.store(key, image);
  return image;
}

}  // namespace kroton::nvidia
