// Arrays from and to other libraries without a copy, by DLPack (https://dmlc.github.io/dlpack): its
// C structs of ABI version 1, and the older ones without a version, which most libraries still
// give. The structs here have the layout of those of <dlpack/dlpack.h>, which is not needed; where
// a program has it, pointers of either kind are taken and given:
//
//   kt::Array a = kt::from_dlpack(managed);  // DLManagedTensor* or DLManagedTensorVersioned*
//   auto* tensor = kt::to_dlpack<DLManagedTensorVersioned>(a);  // to be handed on
#pragma once
#include <kroton/array.h>

#include <cstdint>

namespace kroton {

namespace dlpack {

struct Version {
  std::uint32_t major, minor;
};
enum class DeviceType : std::int32_t {
  cpu = 1,
  cuda = 2,
  cuda_host = 3,  // page-locked memory of the host
  cuda_managed = 13,
};
struct Device {
  DeviceType type;
  std::int32_t number;
};
enum class Code : std::uint8_t {
  signed_integer = 0,
  unsigned_integer = 1,
  floating = 2,
  bfloat = 4,
  boolean = 6
};
struct DataType {
  Code code;
  std::uint8_t bits;
  std::uint16_t lanes;
};
struct Tensor {
  void* data;
  Device device;
  std::int32_t rank;
  DataType dtype;
  std::int64_t* shape;
  std::int64_t* strides;  // in elements; null: row-major
  std::uint64_t byte_offset;
};
struct ManagedTensor {
  Tensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor*);
};
struct ManagedTensorVersioned {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned*);
  std::uint64_t flags;
  Tensor dl_tensor;
};
constexpr Version version{1, 0};
constexpr std::uint64_t flag_read_only = 1;

template <class T>
concept Managed = requires(T tensor) {
  tensor.dl_tensor;
  tensor.manager_ctx;
  tensor.deleter;
};
template <class T>
concept Versioned = Managed<T> && requires(T tensor) { tensor.version; };

}  // namespace dlpack

/// The tensor's memory as an array, not copied: a view of the host's memory (also page-locked), or
/// an array on the CUDA device. It owns the tensor from then on and calls its deleter with the last
/// handle; after an error the tensor is the caller's still, except for one of another major
/// version, which DLPack says to delete. Marked as read-only it gives a read-only view.
///
/// `stream`: of a tensor on a device, the stream that its library uses it in, as for Array::view of
/// such memory; null: the default stream.
///
/// Throws ValueError for a null pointer, a version other than 1, memory that is neither the host's
/// nor a CUDA device's, an address that is no multiple of the element's size, more than 8 axes, and
/// strides other than row-major ones on a device (on the host they are a view with strides);
/// TypeError for a dtype that Kroton does not have (complex numbers, vectors, 8-bit floats);
/// DeviceError where the device is not there, or the memory is not on it.
[[nodiscard]] Array from_dlpack(dlpack::ManagedTensor* tensor, void* stream = nullptr);
[[nodiscard]] Array from_dlpack(dlpack::ManagedTensorVersioned* tensor, void* stream = nullptr);
template <dlpack::Managed T>
[[nodiscard]] Array from_dlpack(T* tensor, void* stream = nullptr) {
  if constexpr (dlpack::Versioned<T>) {
    static_assert(sizeof(T) == sizeof(dlpack::ManagedTensorVersioned));
    return from_dlpack(reinterpret_cast<dlpack::ManagedTensorVersioned*>(tensor), stream);
  } else {
    static_assert(sizeof(T) == sizeof(dlpack::ManagedTensor));
    return from_dlpack(reinterpret_cast<dlpack::ManagedTensor*>(tensor), stream);
  }
}

/// The array for another library, its elements not copied, with strides: by default of version 1.0
/// (dlpack::ManagedTensorVersioned or DLManagedTensorVersioned); with a type without a version, of
/// that. Who gets it calls its deleter once, from any thread, which lets go of the handle that it
/// holds. A view of memory of the caller's stays one: the memory must live as long.
///
/// An array on a device is waited for, so that the other library may use it in any stream; what
/// Kroton does with it later waits for nothing of theirs: it is theirs to wait for, or to give
/// back.
///
/// Throws ValueError for a read-only view where the type has no flag for that.
template <dlpack::Managed T = dlpack::ManagedTensorVersioned>
[[nodiscard]] T* to_dlpack(const Array& array);
template <>
dlpack::ManagedTensor* to_dlpack(const Array& array);
template <>
dlpack::ManagedTensorVersioned* to_dlpack(const Array& array);
template <dlpack::Managed T>
T* to_dlpack(const Array& array) {
  if constexpr (dlpack::Versioned<T>) {
    return reinterpret_cast<T*>(to_dlpack<dlpack::ManagedTensorVersioned>(array));
  } else {
    return reinterpret_cast<T*>(to_dlpack<dlpack::ManagedTensor>(array));
  }
}

}  // namespace kroton
