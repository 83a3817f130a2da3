// libcudnn.so.9 of the tests: the graph interface as far as convolutions take it. Engines that must
// not be chosen come first, and complain if they are.
#include <kroton/float16.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "runtime/cuda/cudnn_api.h"
#include "tests/fake_driver/libraries/machine.h"

namespace kroton::nvidia {

struct cudnnContext {
  CUstream stream = nullptr;
};

}  // namespace kroton::nvidia

using namespace kroton::nvidia;  // NOLINT: this is its interface
using fake_driver::complain;

namespace {

constexpr cudnnStatus not_initialized = 1001, bad_parameter = 2000, not_finalized = 2004,
                      mismatched = 2008, wrong_type = 2010, not_supported = 3000,
                      not_supported_pattern = 3001, not_supported_layout = 3004, failed = 5000;

std::string behaviour() { return fake_driver::setting("cudnn", "off"); }

// One of the library's objects: its attributes as they were given.
struct Object {
  int kind = 0;
  std::map<int, std::vector<char>> values;
  bool is_finalized = false;
  int engine = -1;  // of an engine and its configuration

  template <class T>
  std::vector<T> list(int attribute) const {
    const auto found = values.find(attribute);
    if (found == values.end()) return {};
    std::vector<T> result(found->second.size() / sizeof(T));
    std::memcpy(result.data(), found->second.data(), result.size() * sizeof(T));
    return result;
  }
  template <class T>
  T one(int attribute, T otherwise = {}) const {
    const std::vector<T> all = list<T>(attribute);
    return all.empty() ? otherwise : all[0];
  }
  const Object* object(int attribute) const { return one<const Object*>(attribute); }
};

// The engines, the best first as the library sees it: of each what is known of its results, the
// memory that it needs, and whether it takes this device.
struct Engine {
  std::vector<int> notes;
  std::int64_t workspace = 0;
  bool is_there = true;
};
const std::array<Engine, 9>& engines() {
  static const std::array<Engine, 9> all{{{{dnn_note_not_deterministic}},
                                          {{dnn_note_matrix_units}},
                                          {{dnn_note_matrix_units, dnn_note_converts_down}},
                                          {{dnn_note_fft}},
                                          {{dnn_note_winograd, 7}},
                                          {{}, std::int64_t{1} << 40},
                                          {{}, 0, false},
                                          {{9}, 4096},
                                          {{}, 8192}}};
  return all;
}
constexpr int by_matrix_units = 1, exact = 7, exact_too = 8;

std::size_t bytes_of(int type) {
  switch (type) {
    case dnn_of_handle:
    case dnn_of_i64:
    case dnn_of_f64:
    case dnn_of_pointer:
    case dnn_of_descriptor:
      return 8;
    default:
      return 4;
  }
}

std::int64_t size_of_type(int type) { return type == dnn_f64 ? 8 : type == dnn_f32 ? 4 : 2; }

// A tensor as a convolution meets it, in memory or not yet.
struct Tensor {
  std::uint64_t address = 0;
  int type = dnn_f32;
  std::vector<std::int64_t> sizes, strides;
  std::int64_t id = 0, alignment = 0;

  explicit Tensor(const Object& object)
      : type(object.one<int>(dnn_tensor_type)),
        sizes(object.list<std::int64_t>(dnn_tensor_sizes)),
        strides(object.list<std::int64_t>(dnn_tensor_strides)),
        id(object.one<std::int64_t>(dnn_tensor_id)),
        alignment(object.one<std::int64_t>(dnn_tensor_alignment)) {}

  void* memory() const {
    std::int64_t last = 0;
    for (std::size_t k = 0; k < sizes.size(); ++k) last += (sizes[k] - 1) * strides[k];
    return fake_driver::memory(address, (last + 1) * size_of_type(type));
  }
  double read(std::int64_t at, bool rounds) const {
    if (type == dnn_f64) return reinterpret_cast<const double*>(address)[at];
    if (type == dnn_f16)
      return kroton::float16::from_bits(reinterpret_cast<const std::uint16_t*>(address)[at]);
    if (type == dnn_bf16)
      return kroton::bfloat16::from_bits(reinterpret_cast<const std::uint16_t*>(address)[at]);
    std::uint32_t word = 0;
    std::memcpy(&word, reinterpret_cast<const float*>(address) + at, sizeof word);
    if (rounds) word = (word + (1U << 12)) & ~((1U << 13) - 1);
    float value = 0;
    std::memcpy(&value, &word, sizeof value);
    return value;
  }
  void write(std::int64_t at, double value) const {
    if (type == dnn_f64) reinterpret_cast<double*>(address)[at] = value;
    const auto narrow = static_cast<float>(value);
    if (type == dnn_f32) reinterpret_cast<float*>(address)[at] = narrow;
    if (type == dnn_f16)
      reinterpret_cast<std::uint16_t*>(address)[at] = kroton::float16(narrow).bits();
    if (type == dnn_bf16)
      reinterpret_cast<std::uint16_t*>(address)[at] = kroton::bfloat16(narrow).bits();
  }
};

using Numbers = std::vector<std::int64_t>;

// Calls `action` for every point of these extents.
template <class Action>
void for_each_point(const Numbers& extents, const Action& action) {
  for (const std::int64_t extent : extents) {
    if (extent == 0) return;
  }
  Numbers at(extents.size(), 0);
  while (true) {
    action(at);
    std::size_t k = extents.size();
    while (k > 0 && ++at[k - 1] == extents[k - 1]) at[--k] = 0;
    if (k == 0) return;
  }
}

// An operation's attributes.
struct Names {
  int convolution, x, w, y, alpha, beta;
};
Names names_of(int operation) {
  if (operation == dnn_backward_filter) {
    return {dnn_filter_convolution, dnn_filter_x,     dnn_filter_w,
            dnn_filter_y,           dnn_filter_alpha, dnn_filter_beta};
  }
  if (operation == dnn_backward_data) {
    return {dnn_data_convolution, dnn_data_x,     dnn_data_w,
            dnn_data_y,           dnn_data_alpha, dnn_data_beta};
  }
  return {dnn_forward_convolution, dnn_forward_x,     dnn_forward_w,
          dnn_forward_y,           dnn_forward_alpha, dnn_forward_beta};
}

struct Convolution {
  int kind = dnn_forward;
  bool flipped = false;
  Numbers stride, dilation, before, after;
  Tensor x, w, y;

  explicit Convolution(const Object& operation)
      : kind(operation.kind),
        x(*operation.object(names_of(kind).x)),
        w(*operation.object(names_of(kind).w)),
        y(*operation.object(names_of(kind).y)) {
    const Object& c = *operation.object(names_of(kind).convolution);
    flipped = c.one<int>(dnn_convolution_mode) == dnn_turned_around;
    stride = c.list<std::int64_t>(dnn_convolution_strides);
    dilation = c.list<std::int64_t>(dnn_convolution_dilations);
    before = c.list<std::int64_t>(dnn_convolution_before);
    after = c.list<std::int64_t>(dnn_convolution_after);
  }

  std::size_t axes() const { return stride.size(); }

  // Whether the sizes fit together, as the library looks at them.
  bool fits() const {
    bool good = x.sizes.size() == axes() + 2 && w.sizes.size() == axes() + 2 &&
                y.sizes.size() == axes() + 2 && (axes() == 2 || axes() == 3) &&
                y.sizes[0] == x.sizes[0] && y.sizes[1] == w.sizes[0] && w.sizes[1] > 0 &&
                x.sizes[1] % w.sizes[1] == 0 && w.sizes[0] % (x.sizes[1] / w.sizes[1]) == 0;
    for (std::size_t k = 0; good && k < axes(); ++k) {
      const std::int64_t reach = (w.sizes[k + 2] - 1) * dilation[k] + 1;
      const std::int64_t seen = x.sizes[k + 2] + before[k] + after[k];
      good = before[k] >= 0 && after[k] >= 0 && stride[k] > 0 && dilation[k] > 0 && seen >= reach &&
             y.sizes[k + 2] == (seen - reach) / stride[k] + 1;
    }
    return good;
  }

  // Filters without gaps, the channels before or behind the window.
  bool is_known_layout() const {
    const bool last = w.strides[1] == 1 && w.sizes[1] > 1;
    std::int64_t window = 1;
    for (std::size_t k = axes() + 1; k >= 2; --k) {
      if (w.sizes[k] != 1 && w.strides[k] != (last ? w.sizes[1] : 1) * window) return false;
      window *= w.sizes[k];
    }
    return (w.sizes[1] == 1 || last || w.strides[1] == window) &&
           (w.sizes[0] == 1 || w.strides[0] == window * w.sizes[1]);
  }

  // By matrix units operands of 32 bits are rounded.
  fake_driver::CUresult run(int engine) const {
    const bool rounds = engine == by_matrix_units;
    if (!x.memory() || !w.memory() || !y.memory()) {
      complain("cuDNN: a tensor that is not inside an allocation");
      return fake_driver::illegal_address;
    }
    fake_driver::count_convolution(engine);
    const std::int64_t channels = w.sizes[1], groups = x.sizes[1] / channels;
    const std::int64_t filters = w.sizes[0] / groups;
    const auto offset = [](const Tensor& t, std::int64_t a, std::int64_t b) {
      return a * t.strides[0] + b * t.strides[1];
    };
    std::map<std::int64_t, double> sums;
    const Tensor& result = kind == dnn_backward_filter ? w : kind == dnn_backward_data ? x : y;
    Numbers extents{x.sizes[0], y.sizes[1], channels};
    extents.insert(extents.end(), y.sizes.begin() + 2, y.sizes.end());
    extents.insert(extents.end(), w.sizes.begin() + 2, w.sizes.end());
    for_each_point(extents, [&](const Numbers& at) {
      const std::int64_t o = at[1], c = at[2], group = o / filters;
      std::int64_t of_x = offset(x, at[0], group * channels + c), of_w = offset(w, o, c);
      std::int64_t of_y = offset(y, at[0], o);
      bool inside = true;
      for (std::size_t k = 0; k < axes(); ++k) {
        const std::int64_t p = at[3 + k], r = at[3 + axes() + k];
        const std::int64_t position = p * stride[k] + r * dilation[k] - before[k];
        inside = inside && position >= 0 && position < x.sizes[k + 2];
        of_x += position * x.strides[k + 2];
        of_y += p * y.strides[k + 2];
        of_w += (flipped ? w.sizes[k + 2] - 1 - r : r) * w.strides[k + 2];
      }
      if (!inside) return;
      const double of_picture = kind == dnn_backward_data ? 0 : x.read(of_x, rounds);
      if (kind == dnn_backward_data) {
        sums[of_x] += y.read(of_y, rounds) * w.read(of_w, rounds);
      } else if (kind == dnn_backward_filter) {
        sums[of_w] += of_picture * y.read(of_y, rounds);
      } else {
        sums[of_y] += of_picture * w.read(of_w, rounds);
      }
    });
    for_each_point(result.sizes, [&](const Numbers& at) {
      std::int64_t place = 0;
      for (std::size_t k = 0; k < at.size(); ++k) place += at[k] * result.strides[k];
      sums.try_emplace(place, 0);  // what meets nothing
    });
    for (const auto& [at, sum] : sums) result.write(at, sum);
    return 0;
  }
};

// Whether the object has all that its kind needs.
cudnnStatus why_incomplete(const Object& object) {
  const auto has = [&](std::initializer_list<int> attributes) {
    for (const int attribute : attributes) {
      if (object.values.count(attribute) == 0) return false;
    }
    return true;
  };
  bool good = true;
  switch (object.kind) {
    case dnn_tensor:
      good = has({dnn_tensor_type, dnn_tensor_sizes, dnn_tensor_strides, dnn_tensor_id,
                  dnn_tensor_alignment});
      for (const std::int64_t stride : object.list<std::int64_t>(dnn_tensor_strides)) {
        if (stride < 0) return not_supported_layout;
      }
      for (const std::int64_t size : object.list<std::int64_t>(dnn_tensor_sizes)) {
        good = good && size > 0;
      }
      break;
    case dnn_convolution:
      good = has({dnn_convolution_compute, dnn_convolution_mode, dnn_convolution_spatial,
                  dnn_convolution_strides, dnn_convolution_dilations, dnn_convolution_before,
                  dnn_convolution_after}) &&
             object.list<std::int64_t>(dnn_convolution_strides).size() ==
                 static_cast<std::size_t>(object.one<std::int64_t>(dnn_convolution_spatial));
      break;
    case dnn_forward:
    case dnn_backward_filter:
    case dnn_backward_data: {
      const Names names = names_of(object.kind);
      good = has({names.alpha, names.beta, names.convolution, names.w, names.x, names.y});
      break;
    }
    case dnn_graph:
      good = has({dnn_graph_handle, dnn_graph_operations});
      break;
    case dnn_heuristics:
      good = has({dnn_heuristics_mode, dnn_heuristics_graph});
      break;
    case dnn_plan:
      good = has({dnn_plan_handle, dnn_plan_config});
      break;
    case dnn_variant_pack:
      good = has({dnn_pack_ids, dnn_pack_pointers, dnn_pack_workspace});
      break;
    default:
      break;
  }
  if (!good) {
    complain("cuDNN: an object of kind " + std::to_string(object.kind) + " lacks attributes");
    return bad_parameter;
  }
  if (object.kind != dnn_forward && object.kind != dnn_backward_filter &&
      object.kind != dnn_backward_data) {
    return 0;
  }
  const Convolution convolution(object);
  if (!convolution.fits()) {
    complain("cuDNN: a convolution whose sizes do not fit together");
    return mismatched;
  }
  return convolution.is_known_layout() ? 0 : not_supported_layout;
}

Object* object_of(cudnnDescriptor descriptor) { return static_cast<Object*>(descriptor); }

const Object& operation_of(const Object& plan) {
  const Object& config = *plan.object(dnn_plan_config);
  return *config.object(dnn_heuristics_graph)->object(dnn_graph_operations);
}

}  // namespace

#define LIBRARY_FUNCTION(name) FAKE_DRIVER_EXPORT cudnnStatus name

FAKE_DRIVER_EXPORT std::size_t cudnnGetVersion() { return 91002; }

FAKE_DRIVER_EXPORT const char* cudnnGetErrorString(cudnnStatus status) {
  return status == not_initialized ? "CUDNN_STATUS_NOT_INITIALIZED"
         : status == failed        ? "CUDNN_STATUS_EXECUTION_FAILED"
         : status >= not_supported ? "CUDNN_STATUS_NOT_SUPPORTED"
                                   : "CUDNN_STATUS_BAD_PARAM";
}

LIBRARY_FUNCTION(cudnnCreate)(cudnnHandle* handle) {
  if (behaviour() == "off") return not_initialized;
  *handle = new cudnnContext;
  return 0;
}
LIBRARY_FUNCTION(cudnnSetStream)(cudnnHandle handle, CUstream stream) {
  handle->stream = stream;
  return 0;
}

LIBRARY_FUNCTION(cudnnBackendCreateDescriptor)(int kind, cudnnDescriptor* made) {
  *made = new Object{kind, {}, false, -1};
  return 0;
}
LIBRARY_FUNCTION(cudnnBackendDestroyDescriptor)(cudnnDescriptor descriptor) {
  delete object_of(descriptor);
  return 0;
}

LIBRARY_FUNCTION(cudnnBackendSetAttribute)
(cudnnDescriptor descriptor, int attribute, int type, std::int64_t count, const void* values) {
  Object& object = *object_of(descriptor);
  if (object.is_finalized) {
    complain("cuDNN: an attribute of an object that is finalized");
    return bad_parameter;
  }
  const std::size_t bytes = static_cast<std::size_t>(count) * bytes_of(type);
  const char* begin = static_cast<const char*>(values);
  object.values[attribute].assign(begin, begin + bytes);
  if (type != dnn_of_descriptor) return 0;
  for (const Object* other : object.list<const Object*>(attribute)) {
    if (other->is_finalized) continue;
    complain("cuDNN: an object that is not finalized as the attribute of another one");
    return not_finalized;
  }
  return 0;
}

LIBRARY_FUNCTION(cudnnBackendFinalize)(cudnnDescriptor descriptor) {
  Object& object = *object_of(descriptor);
  const cudnnStatus status = why_incomplete(object);
  if (status != 0) return status;
  if (object.kind == dnn_graph && behaviour() == "refuses") return not_supported_pattern;
  if (object.kind == dnn_plan) {
    const int engine = object.object(dnn_plan_config)->engine;
    if (!engines()[static_cast<std::size_t>(engine)].is_there) return not_supported;
  }
  object.is_finalized = true;
  return 0;
}

LIBRARY_FUNCTION(cudnnBackendGetAttribute)
(cudnnDescriptor descriptor, int attribute, int type, std::int64_t wanted, std::int64_t* count,
 void* values) {
  Object& object = *object_of(descriptor);
  if (attribute == dnn_heuristics_results && type == dnn_of_descriptor) {
    const bool fallback = object.one<int>(dnn_heuristics_mode) == dnn_mode_fallback;
    *count = 0;
    if (behaviour() == "none") return 0;
    const int first = fallback ? exact : 0;
    const int behind = behaviour() == "fallback" && !fallback ? exact : exact_too + 1;
    for (int engine = first; engine < behind && *count < wanted; ++engine) {
      Object& config = *static_cast<Object**>(values)[(*count)++];
      if (config.kind != dnn_engine_config) return wrong_type;
      config.engine = engine;
      config.values[dnn_heuristics_graph] = object.values[dnn_heuristics_graph];
      config.is_finalized = true;
    }
    return 0;
  }
  if (attribute == dnn_config_engine && object.kind == dnn_engine_config) {
    (*static_cast<Object**>(values))->engine = object.engine;
    *count = 1;
    return 0;
  }
  if (attribute == dnn_engine_notes && object.kind == dnn_engine && type == dnn_of_note) {
    const std::vector<int>& notes = engines()[static_cast<std::size_t>(object.engine)].notes;
    *count = static_cast<std::int64_t>(notes.size());
    std::memcpy(values, notes.data(), notes.size() * sizeof(int));
    return 0;
  }
  if (attribute == dnn_plan_workspace && object.kind == dnn_plan) {
    const int engine = object.object(dnn_plan_config)->engine;
    *static_cast<std::int64_t*>(values) = engines()[static_cast<std::size_t>(engine)].workspace;
    *count = 1;
    return 0;
  }
  complain("cuDNN: attribute " + std::to_string(attribute) + " is asked for");
  return bad_parameter;
}

LIBRARY_FUNCTION(cudnnBackendExecute)
(cudnnHandle handle, cudnnDescriptor plan, cudnnDescriptor pack) {
  if (behaviour() == "late") return not_supported;
  if (behaviour() == "broken") return failed;
  const Object& executed = *object_of(plan);
  const Object& given = *object_of(pack);
  if (!executed.is_finalized || !given.is_finalized) {
    complain("cudnnBackendExecute of objects that are not finalized");
    return not_finalized;
  }
  if (!fake_driver::is_current(handle->stream)) {
    complain("cudnnBackendExecute in another context than the stream's");
    return bad_parameter;
  }
  const int engine = executed.object(dnn_plan_config)->engine;
  Convolution convolution(operation_of(executed));
  const std::vector<std::int64_t> ids = given.list<std::int64_t>(dnn_pack_ids);
  const std::vector<std::uint64_t> addresses = given.list<std::uint64_t>(dnn_pack_pointers);
  for (Tensor* tensor : {&convolution.x, &convolution.w, &convolution.y}) {
    for (std::size_t k = 0; k < ids.size(); ++k) {
      if (ids[k] == tensor->id) tensor->address = addresses[k];
    }
    if (tensor->address % static_cast<std::uint64_t>(tensor->alignment) != 0) {
      complain("cudnnBackendExecute: an address that is not aligned as was promised");
      fake_driver::enqueue(handle->stream, [] { return fake_driver::misaligned_address; });
      return 0;
    }
  }
  if (engine != exact && engine != exact_too && engine != by_matrix_units) {
    complain("cudnnBackendExecute: engine " + std::to_string(engine) + " must not be chosen");
  }
  fake_driver::enqueue(handle->stream, [convolution, engine] { return convolution.run(engine); });
  return 0;
}
