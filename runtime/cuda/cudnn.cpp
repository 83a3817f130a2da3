#include "runtime/cuda/cudnn.h"

#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace kroton::nvidia {
namespace {

// What the library says of a convolution that it does not compute, as such or with what it is told.
class CudnnRefusal : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

constexpr cudnnStatus bad_parameters = 2000, not_supported = 3000, internal_error = 4000;

void check(const CudnnApi& api, cudnnStatus status, const char* what) {
  if (status == 0) return;
  const std::string text = "cuDNN (" + api.loaded.path() + "): " + what + ": " +
                           api.cudnnGetErrorString(status) + " (" + std::to_string(status) + ")";
  if (status >= bad_parameters && status < internal_error) throw CudnnRefusal(text);
  throw DeviceError(text);
}

}  // namespace

// Descriptors of the library, destroyed with this.
class CudnnObject {
 public:
  CudnnObject(const CudnnApi& api, int kind) : api_(&api) {
    check(api, api.cudnnBackendCreateDescriptor(kind, &made_), "cudnnBackendCreateDescriptor");
  }
  CudnnObject(CudnnObject&& other) noexcept
      : api_(other.api_), made_(std::exchange(other.made_, nullptr)) {}
  CudnnObject& operator=(CudnnObject&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(made_, other.made_);
    return *this;
  }
  ~CudnnObject() {
    if (made_) api_->cudnnBackendDestroyDescriptor(made_);
  }
  cudnnDescriptor get() const { return made_; }

  template <class T>
  void set(int attribute, int type, std::span<const T> values) {
    check(*api_,
          api_->cudnnBackendSetAttribute(made_, attribute, type, std::ssize(values), values.data()),
          "cudnnBackendSetAttribute");
  }
  void set_numbers(int attribute, const std::vector<std::int64_t>& values) {
    set(attribute, dnn_of_i64, std::span(values));
  }
  template <class T>
  void set_one(int attribute, int type, const T& value) {
    set(attribute, type, std::span(&value, 1));
  }
  void set_object(int attribute, const CudnnObject& value) {
    set_one(attribute, dnn_of_descriptor, value.made_);
  }
  void finalize() { check(*api_, api_->cudnnBackendFinalize(made_), "cudnnBackendFinalize"); }

  // As many as there are, at most those that there is room for.
  template <class T>
  std::size_t get(int attribute, int type, std::span<T> values) const {
    std::int64_t count = 0;
    check(*api_,
          api_->cudnnBackendGetAttribute(made_, attribute, type, std::ssize(values), &count,
                                         values.data()),
          "cudnnBackendGetAttribute");
    return std::min(values.size(), static_cast<std::size_t>(count));
  }

 private:
  const CudnnApi* api_;
  cudnnDescriptor made_ = nullptr;
};

namespace {

// The library's number for elements of the dtype.
int cudnn_type(DType dtype) {
  if (dtype == DType::f32) return dnn_f32;
  if (dtype == DType::f64) return dnn_f64;
  if (dtype == DType::f16) return dnn_f16;
  if (dtype == DType::bf16) return dnn_bf16;
  throw InternalError("cuDNN: no convolutions of " + std::string(name_of(dtype)));
}

// What engines are promised of addresses; beyond 16 bytes nothing is gained.
std::int64_t alignment_of(std::uint64_t address) {
  constexpr std::uint64_t most = 16;
  return static_cast<std::int64_t>((address | most) & (~(address | most) + 1));
}

// The library takes two or three spatial axes.
void add_axis(DeviceConvolution& c) {
  for (DeviceConvolution::Array* array : {&c.x, &c.w, &c.y}) {
    const std::int64_t all = array->sizes.back() * array->strides.back();
    array->sizes.insert(array->sizes.begin() + 2, 1);
    array->strides.insert(array->strides.begin() + 2, all);
  }
  c.stride.insert(c.stride.begin(), 1);
  c.dilation.insert(c.dilation.begin(), 1);
  c.before.insert(c.before.begin(), 0);
  c.after.insert(c.after.begin(), 0);
}

enum Ids : std::int64_t { id_of_x = 1, id_of_w, id_of_y };

CudnnObject tensor(const CudnnApi& api, const DeviceConvolution::Array& array, DType dtype,
                   std::int64_t id) {
  CudnnObject made(api, dnn_tensor);
  made.set_one(dnn_tensor_type, dnn_of_data_type, cudnn_type(dtype));
  made.set_numbers(dnn_tensor_sizes, array.sizes);
  made.set_numbers(dnn_tensor_strides, array.strides);
  made.set_one(dnn_tensor_id, dnn_of_i64, id);
  made.set_one(dnn_tensor_alignment, dnn_of_i64, alignment_of(array.address));
  made.finalize();
  return made;
}

// Whether an engine's results are as they have to be: the same at every call, in full precision.
bool is_exact(const CudnnObject& engine, const DeviceConvolution& c) {
  std::array<int, dnn_most_notes> notes{};
  const std::size_t count = engine.get(dnn_engine_notes, dnn_of_note, std::span<int>(notes));
  return std::none_of(notes.begin(), notes.begin() + static_cast<std::ptrdiff_t>(count),
                      [&](int note) {
                        // Operands of 32 bits are rounded for matrix units.
                        if (note == dnn_note_matrix_units) {
                          return c.operands == c.dtype && !c.tf32;
                        }
                        return note == dnn_note_converts_down || note == dnn_note_reduces_narrow ||
                               note == dnn_note_fft || note == dnn_note_not_deterministic ||
                               (note >= dnn_note_winograd && note <= dnn_note_winograd_13);
                      });
}

}  // namespace

// The objects that describe a convolution, and the engine that computes it.
struct CudnnPlan {
  CudnnPlan(const CudnnApi& api, cudnnHandle handle, const DeviceConvolution& c)
      : x(tensor(api, c.x, dtype_of(c, DeviceConvolution::Wanted::x), id_of_x)),
        w(tensor(api, c.w, dtype_of(c, DeviceConvolution::Wanted::w), id_of_w)),
        y(tensor(api, c.y, dtype_of(c, DeviceConvolution::Wanted::y), id_of_y)),
        convolution(api, dnn_convolution),
        operation(api, names_of(c).operation),
        graph(api, dnn_graph),
        plan(api, dnn_plan) {
    convolution.set_one(dnn_convolution_compute, dnn_of_data_type, cudnn_type(c.dtype));
    convolution.set_one(dnn_convolution_mode, dnn_of_mode,
                        c.flipped ? dnn_turned_around : dnn_as_it_is);
    convolution.set_one(dnn_convolution_spatial, dnn_of_i64,
                        static_cast<std::int64_t>(c.stride.size()));
    convolution.set_numbers(dnn_convolution_strides, c.stride);
    convolution.set_numbers(dnn_convolution_dilations, c.dilation);
    convolution.set_numbers(dnn_convolution_before, c.before);
    convolution.set_numbers(dnn_convolution_after, c.after);
    convolution.finalize();
    const Names names = names_of(c);
    const auto scale = [&](int attribute, double value) {
      if (c.dtype == DType::f64) {
        operation.set_one(attribute, dnn_of_f64, value);
      } else {
        operation.set_one(attribute, dnn_of_f32, static_cast<float>(value));
      }
    };
    scale(names.alpha, 1);
    scale(names.beta, 0);
    operation.set_object(names.convolution, convolution);
    operation.set_object(names.x, x);
    operation.set_object(names.w, w);
    operation.set_object(names.y, y);
    operation.finalize();
    graph.set_one(dnn_graph_handle, dnn_of_handle, handle);
    graph.set_object(dnn_graph_operations, operation);
    graph.finalize();
  }

  // Of the library's engines that will do the one with that number. False if there are fewer.
  bool choose(const CudnnApi& api, cudnnHandle handle, const DeviceConvolution& c) {
    int better = c.algorithm;
    for (const int mode : {dnn_mode_a, dnn_mode_fallback}) {
      CudnnObject heuristics(api, dnn_heuristics);
      heuristics.set_object(dnn_heuristics_graph, graph);
      heuristics.set_one(dnn_heuristics_mode, dnn_of_heuristic_mode, mode);
      std::vector<CudnnObject> configs;
      std::vector<cudnnDescriptor> found;
      for (int k = 0; k < most_configs; ++k) {
        found.push_back(configs.emplace_back(api, dnn_engine_config).get());
      }
      std::size_t count = 0;
      try {
        heuristics.finalize();
        count = heuristics.get(dnn_heuristics_results, dnn_of_descriptor, std::span(found));
      } catch (const CudnnRefusal&) {
        continue;  // the other mode may know more
      }
      bool has_some = false;
      for (std::size_t k = 0; k < count; ++k) {
        if (!takes(api, handle, c, configs[k])) continue;
        has_some = true;
        if (better-- > 0) continue;
        config = std::make_unique<CudnnObject>(std::move(configs[k]));
        return true;
      }
      if (has_some) return false;
    }
    return false;
  }

  CudnnObject x, w, y, convolution, operation, graph, plan;
  std::unique_ptr<CudnnObject> config;

 private:
  static constexpr int most_configs = 32;

  // The operation and its attributes.
  struct Names {
    int operation, alpha, beta, convolution, x, w, y;
  };
  static Names names_of(const DeviceConvolution& c) {
    switch (c.wanted) {
      case DeviceConvolution::Wanted::y:
        break;
      case DeviceConvolution::Wanted::w:
        return {dnn_backward_filter, dnn_filter_alpha, dnn_filter_beta, dnn_filter_convolution,
                dnn_filter_x,        dnn_filter_w,     dnn_filter_y};
      case DeviceConvolution::Wanted::x:
        return {dnn_backward_data, dnn_data_alpha, dnn_data_beta, dnn_data_convolution,
                dnn_data_x,        dnn_data_w,     dnn_data_y};
    }
    return {dnn_forward,   dnn_forward_alpha, dnn_forward_beta, dnn_forward_convolution,
            dnn_forward_x, dnn_forward_w,     dnn_forward_y};
  }
  static DType dtype_of(const DeviceConvolution& c, DeviceConvolution::Wanted which) {
    return c.wanted == which ? c.result : c.operands;
  }

  bool takes(const CudnnApi& api, cudnnHandle handle, const DeviceConvolution& c,
             const CudnnObject& of) {
    try {
      CudnnObject engine(api, dnn_engine);
      cudnnDescriptor got = engine.get();
      of.get(dnn_config_engine, dnn_of_descriptor, std::span(&got, 1));
      if (!is_exact(engine, c)) return false;
      CudnnObject made(api, dnn_plan);
      made.set_one(dnn_plan_handle, dnn_of_handle, handle);
      made.set_object(dnn_plan_config, of);
      made.finalize();
      std::int64_t bytes = 0;
      made.get(dnn_plan_workspace, dnn_of_i64, std::span(&bytes, 1));
      if (bytes > Cudnn::workspace_bytes) return false;
      plan = std::move(made);
      return true;
    } catch (const CudnnRefusal&) {
      return false;  // an engine that is not for this device or these sizes
    }
  }
};

Cudnn::Cudnn(CUstream stream) {
  check(api_, api_.cudnnCreate(&handle_), "cudnnCreate");
  check(api_, api_.cudnnSetStream(handle_, stream), "cudnnSetStream");
}

// The handle stays, as the device does.
Cudnn::~Cudnn() = default;

std::string Cudnn::version() const { return "cuDNN " + std::to_string(api_.cudnnGetVersion()); }

Cudnn::Key Cudnn::key_of(const DeviceConvolution& c) {
  Key key{static_cast<std::int64_t>(c.wanted),
          static_cast<std::int64_t>(c.dtype),
          static_cast<std::int64_t>(c.operands),
          static_cast<std::int64_t>(c.result),
          c.tf32 ? 1 : 0,
          c.flipped ? 1 : 0,
          c.groups,
          c.algorithm,
          static_cast<std::int64_t>(c.stride.size())};
  for (const auto* list : {&c.stride, &c.dilation, &c.before, &c.after}) {
    key.insert(key.end(), list->begin(), list->end());
  }
  for (const DeviceConvolution::Array* array : {&c.x, &c.w, &c.y}) {
    key.insert(key.end(), array->sizes.begin(), array->sizes.end());
    key.insert(key.end(), array->strides.begin(), array->strides.end());
    key.push_back(alignment_of(array->address));
  }
  return key;
}

Cudnn::Known Cudnn::make_plan(const DeviceConvolution& c) const {
  try {
    auto made = std::make_unique<CudnnPlan>(api_, handle_, c);
    if (made->choose(api_, handle_, c)) return {std::move(made), ""};
    return {nullptr, version() +
                         " has no engine for it that gives the same bits at every call, in "
                         "full precision"};
  } catch (const CudnnRefusal& refusal) {
    return {nullptr, refusal.what()};
  }
}

bool Cudnn::convolution(const DeviceConvolution& given, CUdeviceptr workspace,
                        std::string& why_not) {
  DeviceConvolution c = given;
  if (c.stride.size() == 1) add_axis(c);
  Key key = key_of(c);
  auto known = plans_.find(key);
  if (known == plans_.end()) known = plans_.emplace(std::move(key), make_plan(c)).first;
  why_not = known->second.why_not;
  if (!known->second.plan) return false;
  const auto pointer = [](std::uint64_t address) {
    return reinterpret_cast<void*>(static_cast<std::uintptr_t>(address));
  };
  CudnnObject pack(api_, dnn_variant_pack);
  const std::array<void*, 3> pointers{pointer(c.x.address), pointer(c.w.address),
                                      pointer(c.y.address)};
  pack.set(dnn_pack_pointers, dnn_of_pointer, std::span<void* const>(pointers));
  pack.set_numbers(dnn_pack_ids, {id_of_x, id_of_w, id_of_y});
  pack.set_one(dnn_pack_workspace, dnn_of_pointer, pointer(workspace));
  pack.finalize();
  try {
    check(api_, api_.cudnnBackendExecute(handle_, known->second.plan->plan.get(), pack.get()),
          "cudnnBackendExecute");
  } catch (const CudnnRefusal& refusal) {
    known->second = {nullptr, refusal.what()};  // not asked again
    why_not = refusal.what();
    return false;
  }
  return true;
}

}  // namespace kroton::nvidia
