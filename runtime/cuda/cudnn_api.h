// The part of cuDNN's graph interface that is used, declared as in its documentation (cuDNN 9).
#pragma once
#include <cstddef>
#include <cstdint>

#include "runtime/cuda/driver_api.h"
#include "runtime/cuda/library.h"

namespace kroton::nvidia {

using cudnnStatus = int;  // 0: success
using cudnnHandle = struct cudnnContext*;
using cudnnDescriptor = void*;

// Kinds of descriptors.
constexpr int dnn_convolution = 1, dnn_engine = 2, dnn_engine_config = 3, dnn_heuristics = 4,
              dnn_plan = 5, dnn_forward = 10, dnn_backward_filter = 11, dnn_backward_data = 12,
              dnn_graph = 15, dnn_variant_pack = 16, dnn_tensor = 17;
// Types of attributes.
constexpr int dnn_of_handle = 0, dnn_of_data_type = 1, dnn_of_i64 = 3, dnn_of_f32 = 4,
              dnn_of_f64 = 5, dnn_of_pointer = 6, dnn_of_mode = 7, dnn_of_heuristic_mode = 8,
              dnn_of_note = 11, dnn_of_descriptor = 15;
// Attributes.
constexpr int dnn_convolution_compute = 100, dnn_convolution_mode = 101,
              dnn_convolution_dilations = 102, dnn_convolution_strides = 103,
              dnn_convolution_after = 104, dnn_convolution_before = 105,
              dnn_convolution_spatial = 106;
constexpr int dnn_heuristics_mode = 200, dnn_heuristics_graph = 201, dnn_heuristics_results = 202;
constexpr int dnn_config_engine = 300;
constexpr int dnn_plan_handle = 400, dnn_plan_config = 401, dnn_plan_workspace = 402;
constexpr int dnn_forward_alpha = 700, dnn_forward_beta = 701, dnn_forward_convolution = 702,
              dnn_forward_w = 703, dnn_forward_x = 704, dnn_forward_y = 705;
constexpr int dnn_data_alpha = 706, dnn_data_beta = 707, dnn_data_convolution = 708,
              dnn_data_w = 709, dnn_data_x = 710, dnn_data_y = 711;
constexpr int dnn_filter_alpha = 712, dnn_filter_beta = 713, dnn_filter_convolution = 714,
              dnn_filter_w = 715, dnn_filter_x = 716, dnn_filter_y = 717;
constexpr int dnn_graph_handle = 800, dnn_graph_operations = 801;
constexpr int dnn_tensor_alignment = 900, dnn_tensor_type = 901, dnn_tensor_sizes = 902,
              dnn_tensor_strides = 903, dnn_tensor_id = 906;
constexpr int dnn_pack_ids = 1000, dnn_pack_pointers = 1001, dnn_pack_workspace = 1003;
constexpr int dnn_engine_notes = 1303;

constexpr int dnn_f32 = 0, dnn_f64 = 1, dnn_f16 = 2, dnn_bf16 = 9;  // cudnnDataType_t
constexpr int dnn_turned_around = 0, dnn_as_it_is = 1;              // cudnnConvolutionMode_t
constexpr int dnn_mode_a = 3, dnn_mode_fallback = 2;                // cudnnBackendHeurMode_t
// What is known of an engine's results.
constexpr int dnn_note_matrix_units = 0, dnn_note_converts_down = 1, dnn_note_reduces_narrow = 2,
              dnn_note_fft = 3, dnn_note_not_deterministic = 4, dnn_note_winograd = 5,
              dnn_note_winograd_13 = 8, dnn_most_notes = 16;

struct CudnnApi {
  Library loaded{"cuDNN, NVIDIA's library of convolutions (libcudnn),", {"libcudnn.so.9"}};

  std::size_t (*cudnnGetVersion)() = nullptr;
  const char* (*cudnnGetErrorString)(cudnnStatus) = nullptr;
  cudnnStatus (*cudnnCreate)(cudnnHandle*) = nullptr;
  cudnnStatus (*cudnnSetStream)(cudnnHandle, CUstream) = nullptr;
  cudnnStatus (*cudnnBackendCreateDescriptor)(int kind, cudnnDescriptor*) = nullptr;
  cudnnStatus (*cudnnBackendDestroyDescriptor)(cudnnDescriptor) = nullptr;
  cudnnStatus (*cudnnBackendSetAttribute)(cudnnDescriptor, int attribute, int type,
                                          std::int64_t count, const void* values) = nullptr;
  cudnnStatus (*cudnnBackendGetAttribute)(cudnnDescriptor, int attribute, int type,
                                          std::int64_t wanted, std::int64_t* count,
                                          void* values) = nullptr;
  cudnnStatus (*cudnnBackendFinalize)(cudnnDescriptor) = nullptr;
  cudnnStatus (*cudnnBackendExecute)(cudnnHandle, cudnnDescriptor plan,
                                     cudnnDescriptor variant_pack) = nullptr;

  CudnnApi() {
    loaded.find(cudnnGetVersion, "cudnnGetVersion");
    loaded.find(cudnnGetErrorString, "cudnnGetErrorString");
    loaded.find(cudnnCreate, "cudnnCreate");
    loaded.find(cudnnSetStream, "cudnnSetStream");
    loaded.find(cudnnBackendCreateDescriptor, "cudnnBackendCreateDescriptor");
    loaded.find(cudnnBackendDestroyDescriptor, "cudnnBackendDestroyDescriptor");
    loaded.find(cudnnBackendSetAttribute, "cudnnBackendSetAttribute");
    loaded.find(cudnnBackendGetAttribute, "cudnnBackendGetAttribute");
    loaded.find(cudnnBackendFinalize, "cudnnBackendFinalize");
    loaded.find(cudnnBackendExecute, "cudnnBackendExecute");
  }
};

}  // namespace kroton::nvidia
