#include <kroton/array.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <optional>

#include "runtime/large_memory.h"
#include "runtime/storage.h"
#include "runtime/visit.h"

namespace kroton {

namespace {

constexpr std::size_t alignment = 64;
static_assert(sizeof(detail::Block) <= alignment);

// The elements of a block, `alignment` bytes after its head.
std::byte* elements_of(detail::Block* block) {
  return reinterpret_cast<std::byte*>(block) + alignment;
}

// Where they are not large: plain malloc with room to align by hand, which unlike aligned_alloc
// takes small blocks from the thread's cache.
detail::Block* allocate_block(std::size_t bytes, bool zeroed) {
  const std::size_t total = bytes + 2 * alignment;
  LargeBlock allocation;
  if (total >= least_large_bytes) {
    allocation = allocate_large(total, zeroed);
  } else {
    allocation.address = zeroed ? std::calloc(total, 1) : std::malloc(total);
  }
  if (allocation.address == nullptr) {
    return nullptr;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(allocation.address);
  const std::uintptr_t skip = (alignment - address % alignment) % alignment;
  void* place = static_cast<std::byte*>(allocation.address) + skip;
  return new (place) detail::Block{{1}, allocation.address, allocation.bytes, false};
}

Shape row_major_strides(const Shape& shape) {
  Shape strides = shape;
  std::uint64_t stride = 1;  // unsigned: the strides of an array without elements may wrap around
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = static_cast<std::int64_t>(stride);
    stride *= static_cast<std::uint64_t>(std::max<std::int64_t>(shape[axis], 1));
  }
  return strides;
}

// The element count of a shape whose size in bytes fits in 62 bits: room for sums of such sizes.
std::int64_t checked_size(const Shape& shape, DType dtype) {
  const std::int64_t size = shape.element_count();
  if (size > (std::int64_t{1} << 62) / size_of(dtype)) {
    throw ValueError("array: " + to_string(shape) + " of " + std::string(name_of(dtype)) +
                     " is larger than any memory");
  }
  return size;
}

// Whether strides visit the elements of a shape in order and without gaps.
bool visits_in_order(const Shape& shape, const Shape& strides) {
  const Shape expected = row_major_strides(shape);
  for (int axis = 0; axis < shape.rank(); ++axis) {
    if (shape[axis] > 1 && strides[axis] != expected[axis]) {
      return false;
    }
  }
  return true;
}

// Copies `count` elements of a strided view to row-major memory.
template <class T>
void gather(T* to, const T* from, std::int64_t count, const Shape& shape, const Shape& strides) {
  const int last = shape.rank() - 1;  // a view that is not row-major has an axis
  Shape index = shape;
  std::fill(&index[0], &index[0] + shape.rank(), 0);
  for (std::int64_t done = 0; done < count; done += shape[last]) {
    for (std::int64_t i = 0; i < shape[last]; ++i) {
      *to++ = from[i * strides[last]];
    }
    for (int axis = last - 1; axis >= 0; --axis) {
      from += strides[axis];
      if (++index[axis] < shape[axis]) {
        break;
      }
      from -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
}

// A number as an element, or nothing where an integer or boolean element does not hold it.
template <class T>
std::optional<T> exactly(detail::Number number) {
  if constexpr (is_floating_element<T>) {
    const bool is_real = number.floating || number.above_i64;
    return is_real ? static_cast<T>(number.real) : static_cast<T>(number.whole);
  } else {
    if (number.floating) {
      // 2^63 is the first double above int64; a NaN fails all comparisons.
      if (!(number.real >= -0x1p63 && number.real < 0x1p64) ||
          number.real != std::trunc(number.real)) {
        return std::nullopt;
      }
      number.above_i64 = number.real >= 0x1p63;
      number.whole = number.above_i64
                         ? static_cast<std::int64_t>(static_cast<std::uint64_t>(number.real))
                         : static_cast<std::int64_t>(number.real);
    }
    if (number.above_i64) {
      if (!std::same_as<T, std::uint64_t>) return std::nullopt;
      return static_cast<T>(number.whole);
    }
    if (!holds(dtype_of<T>, number.whole)) return std::nullopt;
    return static_cast<T>(number.whole);
  }
}

std::string text_of(detail::Number number) {
  if (number.floating) return to_string(Array(number.real));
  return number.above_i64 ? std::to_string(static_cast<std::uint64_t>(number.whole))
                          : std::to_string(number.whole);
}

template <class T>
T checked_element(detail::Number number, const char* operation) {
  const std::optional<T> element = exactly<T>(number);
  if (!element) {
    throw ValueError(std::string(operation) + ": " + std::string(name_of(dtype_of<T>)) +
                     " does not hold " + text_of(number));
  }
  return *element;
}

template <class To, class From>
To convert(From value) {
  if constexpr (std::same_as<To, bool>) {
    return value != From{0};
  } else if constexpr (is_floating_element<From> && std::is_integral_v<To>) {
    // The ends are exact; the upper one is max + 1, a power of two.
    using Computed = detail::Computed<From>;
    constexpr auto low = static_cast<Computed>(std::numeric_limits<To>::min());
    constexpr auto above = 2 * static_cast<Computed>(std::numeric_limits<To>::max() / 2 + 1);
    const Computed real = value;
    if (!(real >= low)) {
      return std::isnan(real) ? To{0} : std::numeric_limits<To>::min();
    }
    return real >= above ? std::numeric_limits<To>::max() : static_cast<To>(real);
  } else if constexpr (is_floating_element<From> && !std::is_floating_point_v<From>) {
    return static_cast<To>(static_cast<float>(value));
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace

namespace {

detail::Storage* storage_in(detail::Block* block) {
  return std::launder(reinterpret_cast<detail::Storage*>(elements_of(block)));
}

}  // namespace

const detail::Storage* detail::ArrayAccess::storage(const Array& array) {
  const bool has = array.block_ != nullptr && array.block_->has_storage;
  return has ? storage_in(array.block_) : nullptr;
}

Array detail::ArrayAccess::make(void* data, DType dtype, const Shape& shape, bool read_only,
                                const Storage& storage, bool row_major) {
  Block* block = allocate_block(sizeof(Storage), false);
  if (block == nullptr) {
    throw std::bad_alloc();
  }
  new (elements_of(block)) Storage(storage);
  block->has_storage = true;
  Array array;
  array.block_ = block;
  array.data_ = static_cast<std::byte*>(data);
  array.size_ = shape.element_count();
  array.shape_ = shape;
  array.dtype_ = dtype;
  array.read_only_ = read_only;
  array.row_major_ = row_major;
  array.on_device_ = storage.device != nullptr;
  return array;
}

void detail::free_block(Block* block) noexcept {
  const LargeBlock allocation{block->allocation, block->large_bytes};
  if (block->has_storage) {
    storage_in(block)->~Storage();
  }
  block->~Block();
  if (allocation.bytes != 0) {
    free_large(allocation);
  } else {
    std::free(allocation.address);
  }
}

void Array::swap(Array& other) noexcept {
  std::swap(block_, other.block_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(shape_, other.shape_);
  std::swap(dtype_, other.dtype_);
  std::swap(read_only_, other.read_only_);
  std::swap(row_major_, other.row_major_);
  std::swap(on_device_, other.on_device_);
}

Array Array::make(const Shape& shape, DType dtype, bool zeroed) {
  const std::int64_t size = checked_size(shape, dtype);
  detail::Block* block = allocate_block(static_cast<std::size_t>(size * size_of(dtype)), zeroed);
  if (block == nullptr) {
    throw ValueError("array: no memory for " + to_string(shape) + " of " +
                     std::string(name_of(dtype)) + ", " + std::to_string(size * size_of(dtype)) +
                     " bytes");
  }
  Array array;
  array.block_ = block;
  array.data_ = elements_of(block);
  array.size_ = size;
  array.shape_ = shape;
  array.dtype_ = dtype;
  return array;
}

Array Array::empty(const Shape& shape, DType dtype) { return make(shape, dtype, false); }

Array Array::zeros(const Shape& shape, DType dtype) { return make(shape, dtype, true); }

Array Array::ones(const Shape& shape, DType dtype) { return full(shape, 1, dtype); }

Array Array::full(const Shape& shape, detail::Number value, DType dtype) {
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const T element = checked_element<T>(value, "full");
    Array array = empty(shape, dtype);
    std::ranges::fill(array.data<T>(), element);
    return array;
  });
}

Array Array::arange(double start, double stop, double step, DType dtype) {
  if (dtype == boolean) {
    throw TypeError("arange: expected a number dtype, got boolean");
  }
  const double count = std::max(std::ceil((stop - start) / step), 0.0);
  if (!(step != 0 && count < 0x1p53)) {
    throw ValueError("arange: no such range: start " + text_of(start) + ", stop " + text_of(stop) +
                     ", step " + text_of(step));
  }
  return visit_dtype(dtype, [&]<class T>(std::type_identity<T>) {
    const auto size = static_cast<std::int64_t>(count);
    Array array = empty({size}, dtype);
    T* elements = array.data<T>().data();
    for (std::int64_t i = 0; i < size; ++i) {
      elements[i] = checked_element<T>(start + static_cast<double>(i) * step, "arange");
    }
    return array;
  });
}

Array Array::arange(double stop, DType dtype) { return arange(0, stop, 1, dtype); }

namespace {

void check_count(const Shape& shape, std::int64_t count) {
  if (shape.element_count() != count) {
    throw ShapeError("from: shape " + to_string(shape) + " has " +
                     std::to_string(shape.element_count()) + " elements, got " +
                     std::to_string(count) + " values");
  }
}

}  // namespace

Array Array::from_bytes(const void* values, std::int64_t count, const Shape& shape, DType dtype) {
  check_count(shape, count);
  Array array = empty(shape, dtype);
  if (count != 0) {
    std::memcpy(array.data_, values, static_cast<std::size_t>(array.nbytes()));
  }
  return array;
}

Array Array::from_bits(const std::vector<bool>& values, const Shape& shape) {
  const std::vector<unsigned char> bytes(values.begin(), values.end());
  return from_bytes(bytes.data(), static_cast<std::int64_t>(bytes.size()), shape, boolean);
}

namespace {

DType common_dtype(std::initializer_list<detail::ListedNumber> values) {
  DType dtype = DType::boolean;
  for (const detail::ListedNumber& value : values) {
    dtype = promote(dtype, value.dtype);
  }
  return dtype;
}

void fill(Array& array, std::int64_t first, std::initializer_list<detail::ListedNumber> values) {
  visit_dtype(array.dtype(), [&]<class T>(std::type_identity<T>) {
    T* element = array.data<T>().data() + first;
    for (const detail::ListedNumber& value : values) {
      *element++ = checked_element<T>(value, "from");
    }
  });
}

}  // namespace

Array Array::from(std::initializer_list<detail::ListedNumber> values) {
  return from(values, Shape{static_cast<std::int64_t>(values.size())});
}

Array Array::from(std::initializer_list<detail::ListedNumber> values, const Shape& shape) {
  check_count(shape, static_cast<std::int64_t>(values.size()));
  Array array = empty(shape, common_dtype(values));
  fill(array, 0, values);
  return array;
}

Array Array::from(std::initializer_list<std::initializer_list<detail::ListedNumber>> rows) {
  const std::size_t columns = rows.size() == 0 ? 0 : rows.begin()->size();
  DType dtype = DType::boolean;
  for (const auto& row : rows) {
    if (row.size() != columns) {
      fail_ragged(static_cast<std::size_t>(&row - rows.begin()), row.size(), columns);
    }
    dtype = promote(dtype, common_dtype(row));
  }
  Array array =
      empty({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns)}, dtype);
  std::int64_t first = 0;
  for (const auto& row : rows) {
    fill(array, first, row);
    first += static_cast<std::int64_t>(columns);
  }
  return array;
}

Array Array::view_of(void* data, DType dtype, const Shape& shape, bool read_only) {
  Array array;
  array.size_ = checked_size(shape, dtype);
  if (data == nullptr && array.size_ != 0) {
    throw ValueError("view: null pointer to " + to_string(shape) + " of " +
                     std::string(name_of(dtype)));
  }
  array.data_ = static_cast<std::byte*>(data);
  array.shape_ = shape;
  array.dtype_ = dtype;
  array.read_only_ = read_only;
  return array;
}

Array Array::view_of(void* data, DType dtype, const Shape& shape, const Shape& strides,
                     bool read_only) {
  if (strides.rank() != shape.rank()) {
    throw ValueError("view: expected one stride per extent, got strides " + to_string(strides) +
                     " for shape " + to_string(shape));
  }
  Array array = view_of(data, dtype, shape, read_only);
  if (array.size_ == 0 || visits_in_order(shape, strides)) {
    return array;
  }
  detail::Storage storage;
  storage.strides = strides;
  return detail::ArrayAccess::make(data, dtype, shape, read_only, storage, false);
}

Shape Array::strides() const noexcept {
  return row_major_ ? row_major_strides(shape_) : storage_in(block_)->strides;
}

Array Array::copy() const {
  if (on_device_) {
    Array result = empty(shape_, dtype_, device());
    result.assign(*this);
    return result;
  }
  Array result = empty(shape_, dtype_);
  if (size_ == 0) {
    return result;
  }
  if (row_major_) {
    std::memcpy(result.data_, data_, static_cast<std::size_t>(nbytes()));
    return result;
  }
  visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
    gather(reinterpret_cast<T*>(result.data_), reinterpret_cast<const T*>(data_), size_, shape_,
           strides());
  });
  return result;
}

Array Array::contiguous() const { return row_major_ ? *this : copy(); }

Array Array::cast(DType dtype) const {
  if (dtype == dtype_) {
    return *this;
  }
  check_host("cast");
  const Array source = contiguous();
  Array result = empty(shape_, dtype);
  visit_dtype(dtype_, [&]<class From>(std::type_identity<From>) {
    visit_dtype(dtype, [&]<class To>(std::type_identity<To>) {
      std::ranges::transform(source.data<From>(), reinterpret_cast<To*>(result.data_),
                             convert<To, From>);
    });
  });
  return result;
}

Array Array::reshape(const Shape& shape) const {
  const auto fail = [&] {
    throw ShapeError("reshape: cannot make " + to_string(shape) + " of " + to_string(shape_) +
                     ", which has " + std::to_string(size_) + " elements");
  };
  if (!row_major_) {
    throw ValueError("reshape: the array is a view with strides " + to_string(strides()) +
                     " for shape " + to_string(shape_) +
                     ", not row-major; call contiguous() first");
  }
  Array result = *this;
  result.shape_ = shape;
  const auto* open = std::ranges::find(shape, -1);
  if (open != shape.end()) {
    const int axis = static_cast<int>(open - shape.begin());
    result.shape_[axis] = 1;
    if (std::ranges::count(shape, -1) != 1) {
      fail();
    }
    const std::int64_t rest = result.shape_.element_count();
    if (rest == 0 || size_ % rest != 0) {
      fail();
    }
    result.shape_[axis] = size_ / rest;
  }
  if (result.shape_.element_count() != size_) {
    fail();
  }
  return result;
}

namespace {

// `index` counted from the start.
std::int64_t counted(std::int64_t index, int axis, std::int64_t size) {
  if (index < -size || index >= size) {
    throw ValueError("index: index " + std::to_string(index) + " is out of range for axis " +
                     std::to_string(axis) + ", whose size is " + std::to_string(size));
  }
  return index < 0 ? index + size : index;
}

}  // namespace

Array Array::element(std::span<const std::int64_t> indices) const {
  if (indices.size() != static_cast<std::size_t>(rank())) {
    throw ShapeError("index: there are " + std::to_string(indices.size()) +
                     " indices, the array is " + std::string(name_of(dtype_)) + " " +
                     to_string(shape_));
  }
  check_host("index");
  const Shape by_axis = strides();
  std::int64_t offset = 0;
  for (int axis = 0; axis < rank(); ++axis) {
    offset += counted(indices[static_cast<std::size_t>(axis)], axis, shape_[axis]) * by_axis[axis];
  }
  Array result = *this;  // which keeps the memory
  result.data_ += offset * size_of(dtype_);
  result.size_ = 1;
  result.shape_ = Shape();
  result.row_major_ = true;
  return result;
}

Array Array::row(std::int64_t i) const {
  if (rank() == 0) {
    throw ShapeError("row: the array is a scalar, " + std::string(name_of(dtype_)) + " ()");
  }
  const Shape by_axis = strides();
  const std::int64_t offset = counted(i, 0, shape_[0]) * by_axis[0] * size_of(dtype_);
  Array result = *this;
  result.data_ += offset;
  result.size_ = size_ / shape_[0];
  result.shape_ = Shape(std::span(shape_.begin() + 1, shape_.end()));
  if (!row_major_) {
    const Shape inner(std::span(by_axis.begin() + 1, by_axis.end()));
    result.row_major_ = result.size_ == 0 || visits_in_order(result.shape_, inner);
    if (!result.row_major_) {
      detail::Storage storage = *storage_in(block_);
      storage.strides = inner;
      result = detail::ArrayAccess::make(result.data_, dtype_, result.shape_, read_only_, storage,
                                         false);
    }
  }
  return result;
}

void Array::assign(const Array& values) {
  check_writable();
  const std::string mismatch = "assign: the array is " + std::string(name_of(dtype_)) + " " +
                               to_string(shape_) + ", the values are " +
                               std::string(name_of(values.dtype_)) + " " + to_string(values.shape_);
  if (dtype_ != values.dtype_) {
    throw TypeError(mismatch);
  }
  if (!(shape_ == values.shape_)) {
    throw ShapeError(mismatch);
  }
  if (size_ == 0) {
    return;
  }
  if (on_device_ || values.on_device_) {
    assign_between(values);
    return;
  }
  const Array source = values.contiguous();
  if (row_major_) {
    std::memmove(data_, source.data_, static_cast<std::size_t>(nbytes()));
    return;
  }
  // A view of which neighbours lie apart: row by row, where rows are views of the rank below.
  for (std::int64_t i = 0; i < shape_[0]; ++i) {
    row(i).assign(source.row(i));
  }
}

void detail::fail_element(std::size_t k, std::size_t size) {
  throw ValueError("data: element " + std::to_string(k) + " of " + std::to_string(size));
}

Entry::operator double() const {
  const double value = array_.item<double>();
  visit_dtype(array_.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_integral_v<T>) {
      const T element = array_.item<T>();
      if (exactly<T>(value) == element) return;
      throw ValueError("index: the element " + std::to_string(element) +
                       " is no double; read it with item<std::" +
                       std::string(info_of(array_.dtype()).c_type) + ">()");
    }
  });
  return value;
}

void Entry::set(detail::Number value) {
  visit_dtype(array_.dtype(), [&]<class T>(std::type_identity<T>) {
    array_.data<T>()[0] = checked_element<T>(value, "index");
  });
}

void Entry::set_from(const Entry& value) {
  visit_dtype(value.dtype(), [&]<class T>(std::type_identity<T>) { set(value.item<T>()); });
}

std::ostream& operator<<(std::ostream& stream, const Entry& entry) {
  return stream << entry.array_;
}

double Array::item_as_double() const {
  check_item(dtype_);
  return visit_dtype(dtype_, [&]<class T>(std::type_identity<T>) {
    return static_cast<double>(*reinterpret_cast<const T*>(data_));
  });
}

void Array::fail_data(DType dtype) const {
  check_host("data");
  if (dtype != dtype_) {
    throw TypeError("data: the array is " + std::string(name_of(dtype_)) + ", asked for " +
                    std::string(name_of(dtype)));
  }
  throw ValueError("data: the array is a view with strides " + to_string(strides()) +
                   " for shape " + to_string(shape_) + ", not row-major; call contiguous() first");
}

void Array::fail_item(DType dtype) const {
  check_host("item");
  if (size_ != 1) {
    throw ValueError("item: expected an array of one element, got shape " + to_string(shape_));
  }
  throw TypeError("item: the array is " + std::string(name_of(dtype_)) + ", asked for " +
                  std::string(name_of(dtype)));
}

void Array::fail_read_only() {
  throw ValueError("array: a view of const memory has no mutable elements");
}

void Array::fail_ragged(std::size_t row, std::size_t length, std::size_t expected) {
  throw ShapeError("from: row " + std::to_string(row) + " has " + std::to_string(length) +
                   " values, row 0 has " + std::to_string(expected));
}

}  // namespace kroton
