// The driver of the tests: its start, devices, contexts, streams and events.
#include <unistd.h>

#include <cstdio>

#include "tests/fake_driver/libraries/driver.h"

using namespace fake_driver;  // NOLINT: this is its interface

namespace {

const char* name_of(CUresult code) {
  switch (code) {
    case 0:
      return "CUDA_SUCCESS";
    case invalid_value:
      return "CUDA_ERROR_INVALID_VALUE";
    case out_of_memory:
      return "CUDA_ERROR_OUT_OF_MEMORY";
    case not_initialized:
      return "CUDA_ERROR_NOT_INITIALIZED";
    case no_device:
      return "CUDA_ERROR_NO_DEVICE";
    case invalid_device:
      return "CUDA_ERROR_INVALID_DEVICE";
    case invalid_image:
      return "CUDA_ERROR_INVALID_IMAGE";
    case invalid_context:
      return "CUDA_ERROR_INVALID_CONTEXT";
    case no_binary:
      return "CUDA_ERROR_NO_BINARY_FOR_GPU";
    case invalid_ptx:
      return "CUDA_ERROR_INVALID_PTX";
    case unsupported_ptx:
      return "CUDA_ERROR_UNSUPPORTED_PTX_VERSION";
    case invalid_handle:
      return "CUDA_ERROR_INVALID_HANDLE";
    case illegal_state:
      return "CUDA_ERROR_ILLEGAL_STATE";
    case not_found:
      return "CUDA_ERROR_NOT_FOUND";
    case illegal_address:
      return "CUDA_ERROR_ILLEGAL_ADDRESS";
    case misaligned_address:
      return "CUDA_ERROR_MISALIGNED_ADDRESS";
    case 719:
      return "CUDA_ERROR_LAUNCH_FAILED";
    case capture_unsupported:
      return "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    case capture_invalidated:
      return "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED";
    default:
      return "CUDA_ERROR_UNKNOWN";
  }
}

}  // namespace

DRIVER_FUNCTION(cuInit)(unsigned /*flags*/) {
  const Call call("cuInit", Needs::nothing);
  if (call.result != 0) return call.result;
  if (setting("devices", 1) == 0) return no_device;
  Machine& m = machine();
  if (m.process == 0) m.process = getpid();
  if (m.process != getpid()) {
    complain("cuInit in a process forked after cuInit");
    return not_initialized;
  }
  return 0;
}

DRIVER_FUNCTION(cuDriverGetVersion)(int* version) {
  const Call call("cuDriverGetVersion", Needs::nothing);
  *version = setting("version", 13000);
  return call.result;
}

// What NVRTC asks a driver for, where there is one, and does without.
DRIVER_FUNCTION(cuGetExportTable)(const void** table, const void*) {
  *table = nullptr;
  return not_found;
}

DRIVER_FUNCTION(cuGetErrorName)(CUresult code, const char** name) {
  *name = name_of(code);
  return 0;
}

DRIVER_FUNCTION(cuGetErrorString)(CUresult code, const char** text) {
  *text = code == illegal_address ? "an illegal memory access was encountered"
          : code == out_of_memory ? "out of memory"
                                  : "the test driver says so";
  return 0;
}

DRIVER_FUNCTION(cuDeviceGetCount)(int* count) {
  const Call call("cuDeviceGetCount", Needs::driver);
  *count = setting("devices", 1);
  return call.result;
}

DRIVER_FUNCTION(cuDeviceGet)(CUdevice* device, int number) {
  const Call call("cuDeviceGet", Needs::driver);
  if (call.result != 0) return call.result;
  if (number < 0 || number >= setting("devices", 1)) return invalid_device;
  *device = number;
  return 0;
}

DRIVER_FUNCTION(cuDeviceGetName)(char* name, int length, CUdevice /*device*/) {
  const Call call("cuDeviceGetName", Needs::driver);
  std::snprintf(name, static_cast<std::size_t>(length), "test GPU");
  return call.result;
}

DRIVER_FUNCTION(cuDeviceGetAttribute)(int* value, int attribute, CUdevice /*device*/) {
  const Call call("cuDeviceGetAttribute", Needs::driver);
  if (call.result != 0) return call.result;
  const int capability = setting("capability", 90);
  if (attribute == attribute_capability_major) {
    *value = capability / 10;
  } else if (attribute == attribute_capability_minor) {
    *value = capability % 10;
  } else if (attribute == attribute_clock) {
    *value = 1'000'000;  // kHz
  } else if (attribute == attribute_processors) {
    *value = processors;
  } else if (attribute == attribute_cooperative_launch) {
    *value = setting("together", 1);
  } else if (attribute == attribute_cache_bytes) {
    *value = 1 << 20;
  } else if (attribute == attribute_memory_clock) {
    *value = setting("memory_clock", 1'000'000);  // kHz
  } else if (attribute == attribute_memory_bits) {
    *value = 512;
  } else if (attribute == attribute_shared_memory) {
    *value = 64 << 10;
  } else if (attribute == attribute_f32_per_f64) {
    *value = 2;
  } else {
    return invalid_value;
  }
  return 0;
}

DRIVER_FUNCTION(cuDevicePrimaryCtxRetain)(CUcontext* context, CUdevice device) {
  const Call call("cuDevicePrimaryCtxRetain", Needs::driver);
  if (call.result != 0) return call.result;
  std::unique_ptr<CUctx_st>& primary = machine().contexts[device];
  if (!primary) primary = std::make_unique<CUctx_st>(CUctx_st{device, 0});
  *context = primary.get();
  return 0;
}

DRIVER_FUNCTION(cuCtxSetCurrent)(CUcontext context) {
  const Call call("cuCtxSetCurrent", Needs::driver);
  if (call.result != 0) return call.result;
  if (!current_contexts().empty()) current_contexts().pop_back();
  if (context) current_contexts().push_back(context);
  return 0;
}

DRIVER_FUNCTION(cuCtxGetCurrent)(CUcontext* context) {
  const Call call("cuCtxGetCurrent", Needs::driver);
  *context = current_context();
  return call.result;
}

DRIVER_FUNCTION(cuCtxPushCurrent_v2)(CUcontext context) {
  const Call call("cuCtxPushCurrent_v2", Needs::driver);
  if (call.result != 0) return call.result;
  current_contexts().push_back(context);
  return 0;
}

DRIVER_FUNCTION(cuCtxPopCurrent_v2)(CUcontext* context) {
  const Call call("cuCtxPopCurrent_v2", Needs::driver);
  if (call.result != 0) return call.result;
  if (current_contexts().empty()) return invalid_context;
  if (context) *context = current_context();
  current_contexts().pop_back();
  return 0;
}

DRIVER_FUNCTION(cuStreamCreate)(CUstream* stream, unsigned /*flags*/) {
  const Call call("cuStreamCreate");
  if (call.result != 0) return call.result;
  *stream = keep(machine().streams);
  (*stream)->context = current_context();
  return 0;
}

DRIVER_FUNCTION(cuCtxSynchronize)() {
  const Call call("cuCtxSynchronize");
  if (call.result != 0) return call.result;
  for (const auto& stream : machine().streams) {
    if (stream->context != current_context() || !stream->capturing) continue;
    complain("cuCtxSynchronize while a stream is being captured");
    stream->invalidated = true;
    return capture_unsupported;
  }
  wait_for_all(current_context());
  note_wait_for_all();
  return current_context()->failed;
}

DRIVER_FUNCTION(cuStreamSynchronize)(CUstream stream) {
  const Call call("cuStreamSynchronize");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuStreamSynchronize", stream->context)) return invalid_handle;
  if (stream->capturing) {
    complain("cuStreamSynchronize of a stream that is being captured");
    stream->invalidated = true;
    return capture_unsupported;
  }
  return wait_for(stream, stream->queued);
}

DRIVER_FUNCTION(cuEventCreate)(CUevent* event, unsigned flags) {
  const Call call("cuEventCreate");
  if (call.result != 0) return call.result;
  *event = keep(machine().events);
  (*event)->has_time = (flags & event_disable_timing) == 0;
  return 0;
}

DRIVER_FUNCTION(cuEventDestroy_v2)(CUevent event) {
  const Call call("cuEventDestroy_v2");
  if (call.result != 0) return call.result;
  if (std::exchange(event->destroyed, true)) complain("cuEventDestroy twice");
  return 0;
}

DRIVER_FUNCTION(cuStreamWaitEvent)(CUstream stream, CUevent event, unsigned flags) {
  const Call call("cuStreamWaitEvent");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (!belongs("cuStreamWaitEvent", stream->context)) return invalid_handle;
  if (flags != 0) return invalid_value;
  if (event->destroyed) complain("cuStreamWaitEvent for an event that is destroyed");
  if (stream->capturing) complain("cuStreamWaitEvent in a stream that is being captured");
  // For what the event stands for now, whatever it is recorded for later.
  if (!event->stream) return 0;
  enqueue(stream,
          [from = event->stream, position = event->position] { return finish(from, position); });
  return 0;
}

DRIVER_FUNCTION(cuEventRecord)(CUevent event, CUstream stream) {
  const Call call("cuEventRecord");
  if (call.result != 0) return call.result;
  stream = resolved(stream);
  if (event->destroyed) complain("cuEventRecord of an event that is destroyed");
  if (!belongs("cuEventRecord", stream->context)) return invalid_handle;
  if (stream->capturing) {
    complain("cuEventRecord in a stream that is being captured");
    return capture_unsupported;
  }
  event->stream = stream;
  if (event->has_time) {
    enqueue(stream, [event] {
      event->passed = std::chrono::steady_clock::now();
      return 0;
    });
  }
  event->position = stream->queued;
  return 0;
}

DRIVER_FUNCTION(cuEventSynchronize)(CUevent event) {
  const Call call("cuEventSynchronize");
  if (call.result != 0) return call.result;
  return event->stream ? wait_for(event->stream, event->position) : 0;
}

DRIVER_FUNCTION(cuEventElapsedTime)(float* milliseconds, CUevent begin, CUevent end) {
  const Call call("cuEventElapsedTime");
  if (call.result != 0) return call.result;
  for (const CUevent event : {begin, end}) {
    if (!event->has_time || event->destroyed || !event->stream) {
      complain("cuEventElapsedTime of an event that has no time");
      return invalid_handle;
    }
    if (event->stream->done < event->position) {
      complain("cuEventElapsedTime before an event is passed");
      return not_ready;
    }
  }
  std::deque<float>& asked_for = machine().times;
  if (asked_for.empty()) {
    *milliseconds = std::chrono::duration<float, std::milli>(end->passed - begin->passed).count();
  } else {
    *milliseconds = asked_for.front();
    asked_for.pop_front();
  }
  return 0;
}

SAME(cuInit, cuInit);
SAME(cuDriverGetVersion, cuDriverGetVersion);
SAME(cuGetErrorName, cuGetErrorName);
SAME(cuGetErrorString, cuGetErrorString);
SAME(cuDeviceGetCount, cuDeviceGetCount);
SAME(cuDeviceGet, cuDeviceGet);
SAME(cuDeviceGetName, cuDeviceGetName);
SAME(cuDeviceGetAttribute, cuDeviceGetAttribute);
SAME(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain);
SAME(cuCtxPushCurrent, cuCtxPushCurrent_v2);
SAME(cuCtxPopCurrent, cuCtxPopCurrent_v2);
SAME(cuStreamCreate, cuStreamCreate);
SAME(cuStreamSynchronize, cuStreamSynchronize);
SAME(cuEventCreate, cuEventCreate);
SAME(cuEventRecord, cuEventRecord);
SAME(cuEventSynchronize, cuEventSynchronize);
SAME(cuEventElapsedTime, cuEventElapsedTime);
SAME(cuEventDestroy, cuEventDestroy_v2);
SAME(cuStreamWaitEvent, cuStreamWaitEvent);
SAME(cuCtxSynchronize, cuCtxSynchronize);
