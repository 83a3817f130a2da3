// libnvrtc of the tests, of the version that version.cpp names: its code is the source text with a
// line about it, which the driver of the tests hands to the emulator.
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include "runtime/cuda/nvrtc_api.h"
#include "tests/fake_driver/libraries/machine.h"

namespace kroton::nvidia {

struct nvrtcProgramHandle {
  std::string source, name, architecture;
  std::string image;
};

}  // namespace kroton::nvidia

using namespace kroton::nvidia;  // NOLINT: this is its interface

namespace {

constexpr int architectures[] = {75, 80, 90};

std::size_t size_of(const std::string& text) { return text.size() + 1; }

nvrtcResult give(const std::string& text, char* to) {
  std::memcpy(to, text.c_str(), size_of(text));
  return 0;
}

}  // namespace

FAKE_DRIVER_EXPORT const char* nvrtcGetErrorString(nvrtcResult result) {
  return result == 0 ? "NVRTC_SUCCESS" : "NVRTC_ERROR_COMPILATION";
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcVersion(int* major, int* minor) {
  *major = fake_driver::library_version;
  *minor = 0;
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
  *count = static_cast<int>(std::size(architectures));
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetSupportedArchs(int* list) {
  std::memcpy(list, architectures, sizeof architectures);
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source,
                                                  const char* name, int /*header_count*/,
                                                  const char* const* /*headers*/,
                                                  const char* const* /*include_names*/) {
  *program = new nvrtcProgramHandle{source, name, "", ""};
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program) {
  delete *program;
  *program = nullptr;
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int count,
                                                   const char* const* options) {
  for (int k = 0; k < count; ++k) {
    const std::string option = options[k];
    for (const std::string kind : {"sm_", "compute_"}) {
      const std::string start = "--gpu-architecture=" + kind;
      if (!option.starts_with(start)) continue;
      program->image = std::string("fake ") + (kind == "sm_" ? "cubin " : "ptx ") +
                       std::to_string(fake_driver::library_version) + " " +
                       option.substr(start.size()) + " " + program->name + "\n" + program->source;
    }
  }
  // Where a folder is asked for, the text is left there for another compiler (tests/gpu/kit), and
  // nothing comes of it here.
  const char* folder = std::getenv("KROTON_FAKE_SOURCES");
  if (folder && !program->image.empty()) {
    const std::string name = program->name.substr(0, program->name.rfind(".cu"));
    const std::size_t number = std::hash<std::string>()(name + program->source);
    std::ofstream(std::string(folder) + "/" + std::to_string(number)) << name << "\n"
                                                                      << program->source;
    program->image = "no code";
  }
  return program->image.empty() ? 6 : 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram /*program*/, std::size_t* size) {
  *size = 1;
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetProgramLog(nvrtcProgram /*program*/, char* log) {
  *log = 0;
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, std::size_t* size) {
  *size = size_of(program->image);
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* to) {
  return give(program->image, to);
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, std::size_t* size) {
  *size = size_of(program->image);
  return 0;
}
FAKE_DRIVER_EXPORT nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* to) {
  return give(program->image, to);
}
