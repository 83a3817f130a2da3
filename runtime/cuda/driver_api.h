// The part of the CUDA driver that is used, declared as in its documentation (64-bit, CUDA 11 on).
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/cuda/library.h"

namespace kroton::nvidia {

using CUresult = int;  // 0: success
using CUdevice = int;
using CUdeviceptr = std::uint64_t;
using CUcontext = struct CUctx_st*;
using CUstream = struct CUstream_st*;
using CUevent = struct CUevent_st*;
using CUmodule = struct CUmod_st*;
using CUfunction = struct CUfunc_st*;
using CUgraph = struct CUgraph_st*;
using CUgraphExec = struct CUgraphExec_st*;
using CUgraphNode = struct CUgraphNode_st*;

constexpr int pointer_memory_type = 2, pointer_is_managed = 8, pointer_device = 9;
constexpr unsigned memory_of_host = 1;
constexpr int attribute_clock = 13, attribute_processors = 16, attribute_cache_bytes = 38;
constexpr int attribute_memory_clock = 36, attribute_memory_bits = 37;
constexpr int attribute_shared_memory = 81;  // of a processor
constexpr int attribute_f32_per_f64 = 87;
constexpr int attribute_capability_major = 75;
constexpr int attribute_capability_minor = 76;
constexpr int attribute_cooperative_launch = 95;
constexpr unsigned stream_non_blocking = 1;
constexpr unsigned event_default = 0, event_disable_timing = 2;
constexpr int capture_mode_relaxed = 2;
constexpr unsigned capture_set_dependencies = 1;
constexpr int jit_error_log = 5, jit_error_log_bytes = 6;

struct DriverApi {
  Library loaded{"the CUDA driver (libcuda)", {"libcuda.so.1", "libcuda.so"}};

  CUresult (*cuInit)(unsigned flags) = nullptr;
  CUresult (*cuDriverGetVersion)(int*) = nullptr;  // 12040: 12.4
  CUresult (*cuGetErrorName)(CUresult, const char**) = nullptr;
  CUresult (*cuGetErrorString)(CUresult, const char**) = nullptr;
  CUresult (*cuDeviceGetCount)(int*) = nullptr;
  CUresult (*cuDeviceGet)(CUdevice*, int number) = nullptr;
  CUresult (*cuDeviceGetName)(char*, int length, CUdevice) = nullptr;
  CUresult (*cuDeviceGetAttribute)(int*, int attribute, CUdevice) = nullptr;
  CUresult (*cuDevicePrimaryCtxRetain)(CUcontext*, CUdevice) = nullptr;
  CUresult (*cuCtxPushCurrent)(CUcontext) = nullptr;
  CUresult (*cuCtxPopCurrent)(CUcontext*) = nullptr;
  CUresult (*cuCtxSynchronize)() = nullptr;
  CUresult (*cuStreamCreate)(CUstream*, unsigned flags) = nullptr;
  CUresult (*cuStreamSynchronize)(CUstream) = nullptr;
  CUresult (*cuStreamWaitEvent)(CUstream, CUevent, unsigned flags) = nullptr;
  CUresult (*cuEventCreate)(CUevent*, unsigned flags) = nullptr;
  CUresult (*cuEventRecord)(CUevent, CUstream) = nullptr;
  CUresult (*cuEventSynchronize)(CUevent) = nullptr;
  CUresult (*cuEventElapsedTime)(float* milliseconds, CUevent begin, CUevent end) = nullptr;
  CUresult (*cuEventDestroy)(CUevent) = nullptr;
  CUresult (*cuMemAllocHost)(void**, std::size_t) = nullptr;
  CUresult (*cuMemAlloc)(CUdeviceptr*, std::size_t) = nullptr;
  CUresult (*cuMemFree)(CUdeviceptr) = nullptr;
  CUresult (*cuMemcpyHtoDAsync)(CUdeviceptr, const void*, std::size_t, CUstream) = nullptr;
  CUresult (*cuMemcpyDtoHAsync)(void*, CUdeviceptr, std::size_t, CUstream) = nullptr;
  CUresult (*cuMemcpyDtoDAsync)(CUdeviceptr, CUdeviceptr, std::size_t, CUstream) = nullptr;
  CUresult (*cuDeviceCanAccessPeer)(int* can, CUdevice, CUdevice peer) = nullptr;
  CUresult (*cuCtxEnablePeerAccess)(CUcontext peer, unsigned flags) = nullptr;  // 704: it was
  CUresult (*cuMemcpyPeerAsync)(CUdeviceptr to, CUcontext, CUdeviceptr from, CUcontext, std::size_t,
                                CUstream) = nullptr;
  CUresult (*cuPointerGetAttribute)(void* value, int attribute, CUdeviceptr) = nullptr;
  CUresult (*cuMemsetD8Async)(CUdeviceptr, unsigned char, std::size_t, CUstream) = nullptr;
  CUresult (*cuModuleLoadDataEx)(CUmodule*, const void* image, unsigned count, int* options,
                                 void** values) = nullptr;
  CUresult (*cuModuleUnload)(CUmodule) = nullptr;
  CUresult (*cuModuleGetFunction)(CUfunction*, CUmodule, const char* name) = nullptr;
  CUresult (*cuLaunchKernel)(CUfunction, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                             unsigned block_x, unsigned block_y, unsigned block_z,
                             unsigned shared_bytes, CUstream, void** parameters,
                             void** extra) = nullptr;
  // Since CUDA 9; of blocks that are all there at once.
  CUresult (*cuLaunchCooperativeKernel)(CUfunction, unsigned grid_x, unsigned grid_y,
                                        unsigned grid_z, unsigned block_x, unsigned block_y,
                                        unsigned block_z, unsigned shared_bytes, CUstream,
                                        void** parameters) = nullptr;
  CUresult (*cuOccupancyMaxActiveBlocksPerMultiprocessor)(int* blocks, CUfunction, int threads,
                                                          std::size_t shared_bytes) = nullptr;
  CUresult (*cuStreamBeginCapture)(CUstream, int mode) = nullptr;
  CUresult (*cuStreamEndCapture)(CUstream, CUgraph*) = nullptr;
  // Since CUDA 11.3; null in older drivers. What is captured last, and what comes next behind.
  CUresult (*cuStreamGetCaptureInfo)(CUstream, int* status, std::uint64_t* id, CUgraph*,
                                     const CUgraphNode** dependencies,
                                     std::size_t* count) = nullptr;
  CUresult (*cuStreamUpdateCaptureDependencies)(CUstream, CUgraphNode* dependencies,
                                                std::size_t count, unsigned flags) = nullptr;
  CUresult (*cuGraphInstantiate)(CUgraphExec*, CUgraph, unsigned long long flags) = nullptr;
  // Since CUDA 12 there is a second version with another list; drivers have this one too.
  CUresult (*cuGraphExecUpdate)(CUgraphExec, CUgraph, void** failed_node, int* why) = nullptr;
  CUresult (*cuGraphDestroy)(CUgraph) = nullptr;
  CUresult (*cuGraphLaunch)(CUgraphExec, CUstream) = nullptr;
  CUresult (*cuGraphExecDestroy)(CUgraphExec) = nullptr;

  DriverApi() {
    loaded.find(cuInit, "cuInit");
    loaded.find(cuDriverGetVersion, "cuDriverGetVersion");
    loaded.find(cuGetErrorName, "cuGetErrorName");
    loaded.find(cuGetErrorString, "cuGetErrorString");
    loaded.find(cuDeviceGetCount, "cuDeviceGetCount");
    loaded.find(cuDeviceGet, "cuDeviceGet");
    loaded.find(cuDeviceGetName, "cuDeviceGetName");
    loaded.find(cuDeviceGetAttribute, "cuDeviceGetAttribute");
    loaded.find(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain");
    loaded.find(cuCtxPushCurrent, "cuCtxPushCurrent_v2");
    loaded.find(cuCtxPopCurrent, "cuCtxPopCurrent_v2");
    loaded.find(cuCtxSynchronize, "cuCtxSynchronize");
    loaded.find(cuStreamCreate, "cuStreamCreate");
    loaded.find(cuStreamSynchronize, "cuStreamSynchronize");
    loaded.find(cuStreamWaitEvent, "cuStreamWaitEvent");
    loaded.find(cuEventCreate, "cuEventCreate");
    loaded.find(cuEventRecord, "cuEventRecord");
    loaded.find(cuEventSynchronize, "cuEventSynchronize");
    loaded.find(cuEventElapsedTime, "cuEventElapsedTime");
    loaded.find(cuEventDestroy, "cuEventDestroy_v2");
    loaded.find(cuMemAllocHost, "cuMemAllocHost_v2");
    loaded.find(cuMemAlloc, "cuMemAlloc_v2");
    loaded.find(cuMemFree, "cuMemFree_v2");
    loaded.find(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
    loaded.find(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
    loaded.find(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2");
    loaded.find(cuDeviceCanAccessPeer, "cuDeviceCanAccessPeer");
    loaded.find(cuCtxEnablePeerAccess, "cuCtxEnablePeerAccess");
    loaded.find(cuMemcpyPeerAsync, "cuMemcpyPeerAsync");
    loaded.find(cuPointerGetAttribute, "cuPointerGetAttribute");
    loaded.find(cuMemsetD8Async, "cuMemsetD8Async");
    loaded.find(cuModuleLoadDataEx, "cuModuleLoadDataEx");
    loaded.find(cuModuleUnload, "cuModuleUnload");
    loaded.find(cuModuleGetFunction, "cuModuleGetFunction");
    loaded.find(cuLaunchKernel, "cuLaunchKernel");
    loaded.find(cuLaunchCooperativeKernel, "cuLaunchCooperativeKernel");
    loaded.find(cuOccupancyMaxActiveBlocksPerMultiprocessor,
                "cuOccupancyMaxActiveBlocksPerMultiprocessor");
    loaded.find(cuStreamBeginCapture, "cuStreamBeginCapture_v2");
    loaded.find(cuStreamEndCapture, "cuStreamEndCapture");
    loaded.find_if_there(cuStreamGetCaptureInfo, "cuStreamGetCaptureInfo_v2");
    loaded.find_if_there(cuStreamUpdateCaptureDependencies, "cuStreamUpdateCaptureDependencies");
    loaded.find(cuGraphInstantiate, "cuGraphInstantiateWithFlags");
    loaded.find(cuGraphExecUpdate, "cuGraphExecUpdate");
    loaded.find(cuGraphDestroy, "cuGraphDestroy");
    loaded.find(cuGraphLaunch, "cuGraphLaunch");
    loaded.find(cuGraphExecDestroy, "cuGraphExecDestroy");
  }
};

// Loaded at the first call, and never unloaded; DeviceError if it is not there.
const DriverApi& driver();
// CUDA_ERROR_OUT_OF_MEMORY: out of memory
std::string error_text(CUresult result);
// Whether the driver refuses everything in this process that concerns the device from then on.
bool is_lasting(CUresult result);
// Whether this process is the child, by fork, of one that had loaded the driver, which does not
// work there; and a DeviceError if it is.
bool is_forked();
void refuse_after_fork(const std::string& who);

}  // namespace kroton::nvidia
