// What the test driver and the libraries beside it share.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

#include "runtime/cuda/driver_api.h"

#define FAKE_DRIVER_EXPORT extern "C" __attribute__((visibility("default")))

namespace fake_driver {

using kroton::nvidia::CUresult;
using kroton::nvidia::CUstream;

constexpr CUresult invalid_value = 1, out_of_memory = 2, not_initialized = 3, no_device = 100,
                   invalid_device = 101, invalid_image = 200, invalid_context = 201,
                   no_binary = 209, invalid_ptx = 218, unsupported_ptx = 222, invalid_handle = 400,
                   illegal_state = 401, not_found = 500, not_ready = 600, illegal_address = 700,
                   misaligned_address = 716, too_large_together = 720, not_supported = 801,
                   capture_unsupported = 900, capture_invalidated = 901;

// Of the device, and the blocks of a kernel that each has at once.
constexpr int processors = 4, blocks_of_processor = 1;

// The major version of NVRTC or cuBLASLt that the library at hand is.
extern const int library_version;

// How a piece of work on a stream ends: 0, or an error that its context never recovers from.
using Work = std::function<CUresult()>;

// A number of KROTON_FAKE_DRIVER, and a word.
int setting(const std::string& key, int otherwise);
std::string setting(const std::string& key, const std::string& otherwise);

// Notes something that the caller must not do.
void complain(const std::string& text);
// Whether the stream's context is current in this thread.
bool is_current(CUstream stream);
// Runs when somebody waits for the stream; part of the graph while one is captured.
void enqueue(CUstream stream, Work work);
// The memory at an address of the current work's device, or null unless all of it is inside one
// allocation that has not been freed.
void* memory(std::uint64_t address, std::int64_t bytes);
void count_product(int algorithm);
void count_convolution(int algorithm);

}  // namespace fake_driver
