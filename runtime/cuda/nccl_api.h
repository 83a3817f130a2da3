// The part of NCCL that is used, declared as in its documentation (2.x).
#pragma once
#include <cstddef>

#include "runtime/cuda/driver_api.h"

namespace kroton::nvidia {

using ncclResult = int;  // 0: success
using ncclComm = struct ncclCommOpaque*;

constexpr int nccl_sum = 0, nccl_prod = 1, nccl_max = 2, nccl_min = 3;
constexpr int nccl_i8 = 0, nccl_u8 = 1, nccl_i32 = 2, nccl_u32 = 3, nccl_i64 = 4, nccl_u64 = 5,
              nccl_f16 = 6, nccl_f32 = 7, nccl_f64 = 8, nccl_bf16 = 9;

struct NcclApi {
  Library loaded{"NCCL (libnccl)", {"libnccl.so.2", "libnccl.so"}};

  ncclResult (*ncclGetVersion)(int*) = nullptr;  // 22203: 2.22.3
  const char* (*ncclGetErrorString)(ncclResult) = nullptr;
  // One communicator for each of the devices, the ranks in their order.
  ncclResult (*ncclCommInitAll)(ncclComm*, int count, const int* devices) = nullptr;
  ncclResult (*ncclCommDestroy)(ncclComm) = nullptr;
  ncclResult (*ncclCommAbort)(ncclComm) = nullptr;
  ncclResult (*ncclGroupStart)() = nullptr;
  ncclResult (*ncclGroupEnd)() = nullptr;
  ncclResult (*ncclAllReduce)(const void* in, void* out, std::size_t count, int type, int operation,
                              ncclComm, CUstream) = nullptr;
  ncclResult (*ncclReduceScatter)(const void* in, void* out, std::size_t out_count, int type,
                                  int operation, ncclComm, CUstream) = nullptr;
  ncclResult (*ncclAllGather)(const void* in, void* out, std::size_t in_count, int type, ncclComm,
                              CUstream) = nullptr;
  ncclResult (*ncclBroadcast)(const void* in, void* out, std::size_t count, int type, int root,
                              ncclComm, CUstream) = nullptr;
  ncclResult (*ncclReduce)(const void* in, void* out, std::size_t count, int type, int operation,
                           int root, ncclComm, CUstream) = nullptr;

  NcclApi() {
    loaded.find(ncclGetVersion, "ncclGetVersion");
    loaded.find(ncclGetErrorString, "ncclGetErrorString");
    loaded.find(ncclCommInitAll, "ncclCommInitAll");
    loaded.find(ncclCommDestroy, "ncclCommDestroy");
    loaded.find(ncclCommAbort, "ncclCommAbort");
    loaded.find(ncclGroupStart, "ncclGroupStart");
    loaded.find(ncclGroupEnd, "ncclGroupEnd");
    loaded.find(ncclAllReduce, "ncclAllReduce");
    loaded.find(ncclReduceScatter, "ncclReduceScatter");
    loaded.find(ncclAllGather, "ncclAllGather");
    loaded.find(ncclBroadcast, "ncclBroadcast");
    loaded.find(ncclReduce, "ncclReduce");
  }
};

}  // namespace kroton::nvidia
