#include <kroton/dlpack.h>

#include <array>
#include <memory>
#include <optional>

#include "runtime/storage.h"

namespace kroton {
namespace {

using detail::ArrayAccess;
using detail::Storage;

// As the ABI of version 1 has them.
static_assert(sizeof(dlpack::Tensor) == 48 && sizeof(dlpack::ManagedTensor) == 64 &&
              sizeof(dlpack::ManagedTensorVersioned) == 80);

dlpack::DataType code_of(DType dtype) {
  const auto bits = static_cast<std::uint8_t>(8 * size_of(dtype));
  const auto code = [&] {
    if (dtype == DType::boolean) return dlpack::Code::boolean;
    if (dtype == DType::bf16) return dlpack::Code::bfloat;
    if (is_float(dtype)) return dlpack::Code::floating;
    return is_signed(dtype) ? dlpack::Code::signed_integer : dlpack::Code::unsigned_integer;
  }();
  return {code, bits, 1};
}

DType dtype_from(const dlpack::DataType& type) {
  for (const DTypeInfo& info : dtype_table) {
    const dlpack::DataType known = code_of(info.dtype);
    if (known.code == type.code && known.bits == type.bits && known.lanes == type.lanes) {
      return info.dtype;
    }
  }
  throw TypeError("from_dlpack: there is no dtype of code " +
                  std::to_string(static_cast<int>(type.code)) + " with " +
                  std::to_string(type.bits) + " bits and " + std::to_string(type.lanes) + " lanes");
}

bool is_row_major(const Shape& shape, const Shape& strides) {
  std::int64_t stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    if (shape[axis] > 1 && strides[axis] != stride) return false;
    stride *= shape[axis];
  }
  return true;
}

Array view_of(const dlpack::Tensor& tensor, bool read_only, std::shared_ptr<void> owner,
              void* stream) {
  if (tensor.rank < 0 || tensor.rank > Shape::max_rank) {
    throw ValueError("from_dlpack: the tensor has " + std::to_string(tensor.rank) +
                     " axes, there may be up to " + std::to_string(Shape::max_rank));
  }
  const DType dtype = dtype_from(tensor.dtype);
  const auto rank = static_cast<std::size_t>(tensor.rank);
  const Shape shape(std::span<const std::int64_t>(tensor.shape, rank));
  const std::string what =
      "from_dlpack: the tensor, " + std::string(name_of(dtype)) + " " + to_string(shape) + ", ";
  const std::int64_t size = shape.element_count();
  if (size > (std::int64_t{1} << 62) / size_of(dtype)) throw ValueError(what + "is too large");
  auto* const data = static_cast<char*>(tensor.data) + tensor.byte_offset;
  if (size > 0 && tensor.data == nullptr) throw ValueError(what + "has no memory");
  if (size > 0 &&
      reinterpret_cast<std::uintptr_t>(data) % static_cast<std::uintptr_t>(size_of(dtype)) != 0) {
    throw ValueError(what + "begins at an address that is no multiple of " +
                     std::to_string(size_of(dtype)));
  }
  Storage storage;
  storage.owner = std::move(owner);
  if (tensor.strides != nullptr) {
    storage.strides = Shape(std::span<const std::int64_t>(tensor.strides, rank));
  }
  const bool row_major =
      size == 0 || tensor.strides == nullptr || is_row_major(shape, storage.strides);
  switch (tensor.device.type) {
    case dlpack::DeviceType::cpu:
    case dlpack::DeviceType::cuda_host:
      break;
    case dlpack::DeviceType::cuda:
    case dlpack::DeviceType::cuda_managed:
      storage.device = cuda_device(tensor.device.number);
      storage.number = tensor.device.number;
      storage.is_foreign = true;
      storage.stream = stream;
      if (!row_major) {
        throw ValueError(what + "on " + storage.device->name() + ", has the strides " +
                         to_string(storage.strides) +
                         ": arrays on a device are row-major; make it contiguous there first");
      }
      if (size > 0) {
        const std::string why = storage.device->why_foreign(reinterpret_cast<DeviceAddress>(data));
        if (!why.empty()) {
          throw DeviceError(what + "said to be on " + storage.device->name() + ", " + why);
        }
      }
      break;
    default:
      throw ValueError(what + "is on a device of type " +
                       std::to_string(static_cast<int>(tensor.device.type)) +
                       "; the host (1, 3) and CUDA (2, 13) are known");
  }
  return ArrayAccess::make(size > 0 ? data : nullptr, dtype, shape, read_only, storage, row_major);
}

// Calls the tensor's deleter at the end, once the array is made.
template <class T>
class Taken {
 public:
  explicit Taken(T* tensor) : tensor_(tensor) {}
  ~Taken() {
    if (is_taken && tensor_->deleter != nullptr) tensor_->deleter(tensor_);
  }
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  bool is_taken = false;

 private:
  T* tensor_;
};

template <class T>
Array take(T* tensor, bool read_only, void* stream) {
  const auto taken = std::make_shared<Taken<T>>(tensor);
  Array array = view_of(tensor->dl_tensor, read_only, taken, stream);
  taken->is_taken = true;
  return array;
}

// What the other library holds.
template <class T>
struct Given {
  explicit Given(const Array& a) : array(a), shape(a.shape()), strides(a.strides()) {
    const Storage* storage = ArrayAccess::on_device(array);
    if (storage) {
      if (storage->is_known) *storage->is_known = true;
      // Nothing of it is under way afterwards, neither in our stream nor, for memory of others, in
      // theirs.
      {
        const detail::StreamOrder order(*storage->device, {{storage, true}});
      }
      storage->device->synchronize();
    }
    tensor.manager_ctx = this;
    tensor.deleter = [](T* self) { delete static_cast<Given*>(self->manager_ctx); };
    dlpack::Tensor& t = tensor.dl_tensor;
    t.data = reinterpret_cast<void*>(ArrayAccess::address(array));
    t.device = storage ? dlpack::Device{dlpack::DeviceType::cuda, storage->number}
                       : dlpack::Device{dlpack::DeviceType::cpu, 0};
    t.rank = shape.rank();
    t.dtype = code_of(array.dtype());
    t.shape = shape.rank() > 0 ? &shape[0] : nullptr;
    t.strides = shape.rank() > 0 ? &strides[0] : nullptr;
    t.byte_offset = 0;
    if (array.size() == 0) t.data = nullptr;
  }

  Array array;
  Shape shape, strides;
  T tensor{};
};

}  // namespace

Array from_dlpack(dlpack::ManagedTensor* tensor, void* stream) {
  if (tensor == nullptr) throw ValueError("from_dlpack: the tensor is a null pointer");
  return take(tensor, false, stream);
}

Array from_dlpack(dlpack::ManagedTensorVersioned* tensor, void* stream) {
  if (tensor == nullptr) throw ValueError("from_dlpack: the tensor is a null pointer");
  if (tensor->version.major != dlpack::version.major) {
    const std::string message = "from_dlpack: the tensor is of version " +
                                std::to_string(tensor->version.major) + " of DLPack, known is " +
                                std::to_string(dlpack::version.major);
    if (tensor->deleter != nullptr) tensor->deleter(tensor);
    throw ValueError(message);
  }
  return take(tensor, (tensor->flags & dlpack::flag_read_only) != 0, stream);
}

template <>
dlpack::ManagedTensor* to_dlpack(const Array& array) {
  if (array.is_read_only()) {
    throw ValueError(
        "to_dlpack: the array is a read-only view, which a tensor without a version cannot say; "
        "ask "
        "for one with it");
  }
  return &(new Given<dlpack::ManagedTensor>(array))->tensor;
}

template <>
dlpack::ManagedTensorVersioned* to_dlpack(const Array& array) {
  auto* given = new Given<dlpack::ManagedTensorVersioned>(array);
  given->tensor.version = dlpack::version;
  given->tensor.flags = array.is_read_only() ? dlpack::flag_read_only : 0;
  return &given->tensor;
}

}  // namespace kroton
