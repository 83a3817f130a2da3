// DLPack with the host's memory; with a device's in cuda/test_device_arrays.cpp.
#include <doctest/doctest.h>
#include <kroton/dlpack.h>

#include <cstring>
#include <functional>
#include <memory>

#include "tests/tools/error_text.h"

namespace kt = kroton;
namespace dlpack = kroton::dlpack;
using error_text::contains;

// As <dlpack/dlpack.h> has them.
extern "C" {
typedef struct {  // NOLINT(modernize-use-using): C
  void* data;
  struct {
    std::int32_t device_type, device_id;
  } device;
  std::int32_t ndim;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } dtype;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t byte_offset;
} TestTensor;
typedef struct TestManaged {  // NOLINT(modernize-use-using): C
  TestTensor dl_tensor;
  void* manager_ctx;
  void (*deleter)(struct TestManaged*);
} TestManaged;
typedef struct TestVersioned {  // NOLINT(modernize-use-using): C
  struct {
    std::uint32_t major, minor;
  } version;
  void* manager_ctx;
  void (*deleter)(struct TestVersioned*);
  std::uint64_t flags;
  TestTensor dl_tensor;
} TestVersioned;
}

namespace {

// A tensor of another library's with 24 floats, that counts its deletions.
struct Theirs {
  float memory[24] = {};
  std::int64_t shape[8] = {2, 3, 4}, strides[8] = {12, 4, 1};
  int deleted = 0;
  TestVersioned tensor{};

  Theirs() {
    for (int k = 0; k < 24; ++k) memory[k] = static_cast<float>(k);
    tensor.version = {1, 1};
    tensor.manager_ctx = this;
    tensor.deleter = [](TestVersioned* self) {
      ++static_cast<Theirs*>(self->manager_ctx)->deleted;
    };
    tensor.dl_tensor = {memory, {1, 0}, 3, {2, 32, 1}, shape, strides, 0};
  }

  template <class Error>
  void fails(const std::string& message) {
    CAPTURE(message);
    try {
      static_cast<void>(kt::from_dlpack(&tensor));
      FAIL("no error");
    } catch (const Error& error) {
      CAPTURE(error.what());
      CHECK(contains(error.what(), message));
    }
    CHECK(deleted == 0);
  }
};

}  // namespace

TEST_CASE("dlpack: arrays of every dtype and shape go there and back without a copy") {
  for (const kt::DTypeInfo& info : kt::dtype_table) {
    for (const kt::Shape& shape : {kt::Shape{}, kt::Shape{0}, kt::Shape{1}, kt::Shape{17},
                                   kt::Shape{3, 17}, kt::Shape{3, 0, 1}}) {
      const kt::Array a = kt::Array::ones(shape, info.dtype);
      auto* const old = kt::to_dlpack<TestManaged>(a);
      CHECK(old->dl_tensor.ndim == shape.rank());
      CHECK(old->dl_tensor.dtype.bits == 8 * size_of(info.dtype));
      CHECK(old->dl_tensor.device.device_type == 1);
      kt::Array b = kt::from_dlpack(kt::to_dlpack(kt::from_dlpack(old)));
      CHECK(kt::array_equal(a, b));
      if (a.size() == 0) continue;
      CHECK(b.raw() == a.raw());
      std::memset(b.raw(), 0, static_cast<std::size_t>(b.nbytes()));
      CHECK(kt::array_equal(a, kt::Array::zeros(shape, info.dtype)));
    }
  }
}

TEST_CASE("dlpack: the codes of dtypes") {
  const auto code = [](kt::DType dtype) {
    auto* const tensor = kt::to_dlpack<TestVersioned>(kt::Array::zeros({1}, dtype));
    const int result = tensor->dl_tensor.dtype.code;
    CHECK(tensor->version.major == 1);
    tensor->deleter(tensor);
    return result;
  };
  CHECK((code(kt::i8) == 0 && code(kt::i64) == 0));
  CHECK((code(kt::u8) == 1 && code(kt::u64) == 1));
  CHECK((code(kt::f16) == 2 && code(kt::f32) == 2 && code(kt::f64) == 2));
  CHECK(code(kt::bf16) == 4);
  CHECK(code(kt::boolean) == 6);
}

TEST_CASE("dlpack: the elements live as long as a handle on either side") {
  Theirs theirs;
  {
    kt::Array row;
    {
      const kt::Array a = kt::from_dlpack(&theirs.tensor);
      CHECK(a.shape() == kt::Shape{2, 3, 4});
      CHECK((a.is_row_major() && !a.is_read_only()));
      row = a.row(1);
    }
    CHECK(theirs.deleted == 0);
    CHECK(row.data<float>()[11] == 23);
    row(0, 0) = -1;
    CHECK(theirs.memory[12] == -1);
  }
  CHECK(theirs.deleted == 1);
  // The other way round.
  auto* given = kt::to_dlpack<TestManaged>(kt::Array::full({3}, 7));
  CHECK(static_cast<float*>(given->dl_tensor.data)[2] == 7);
  given->deleter(given);
}

TEST_CASE("dlpack: strides, offsets and read-only memory") {
  Theirs theirs;
  TestTensor& t = theirs.tensor.dl_tensor;
  t.byte_offset = 4;
  t.ndim = 2;
  theirs.shape[0] = 3;
  theirs.shape[1] = 2;
  theirs.strides[0] = -1;
  theirs.strides[1] = 10;
  t.byte_offset = 8;
  theirs.tensor.flags = 1;
  {
    kt::Array row;
    {
      kt::Array a = kt::from_dlpack(&theirs.tensor);
      CHECK((!a.is_row_major() && a.is_read_only()));
      CHECK(kt::array_equal(a, kt::Array::from({{2.0F, 12.0F}, {1.0F, 11.0F}, {0.0F, 10.0F}})));
      CHECK_THROWS_AS(a(0, 0) = 1, kt::ValueError);
      CHECK_THROWS_AS(static_cast<void>(kt::to_dlpack<TestManaged>(a)), kt::ValueError);
      auto* const again = kt::to_dlpack<TestVersioned>(a);
      CHECK(again->flags == 1);
      CHECK(again->dl_tensor.strides[0] == -1);
      again->deleter(again);
      row = a.row(2);  // of strides too, and an owner
    }
    CHECK(theirs.deleted == 0);
    CHECK(row.contiguous().data<float>()[1] == 10);
  }
  CHECK(theirs.deleted == 1);
  // None: row-major. Of axes of one and arrays of nothing they do not matter.
  t.strides = nullptr;
  CHECK(kt::from_dlpack(&theirs.tensor).is_row_major());
  t.strides = theirs.strides;
  theirs.shape[0] = 1;
  theirs.strides[1] = 1;
  CHECK(kt::from_dlpack(&theirs.tensor).is_row_major());
  theirs.shape[0] = 0;
  t.data = nullptr;
  CHECK(kt::from_dlpack(&theirs.tensor).size() == 0);
  CHECK(theirs.deleted == 4);
}

TEST_CASE("dlpack: what cannot be taken is an error and stays the caller's") {
  CHECK_THROWS_AS(static_cast<void>(kt::from_dlpack(static_cast<TestManaged*>(nullptr))),
                  kt::ValueError);
  const auto with = [](const std::function<void(TestTensor&)>& change) {
    auto theirs = std::make_unique<Theirs>();
    change(theirs->tensor.dl_tensor);
    return theirs;
  };
  with([](TestTensor& t) {
    t.dtype.code = 5;
  })->fails<kt::TypeError>("there is no dtype of code 5 with 32 bits and 1 lanes");
  with([](TestTensor& t) { t.dtype.lanes = 4; })->fails<kt::TypeError>("4 lanes");
  with([](TestTensor& t) { t.dtype.bits = 8; })->fails<kt::TypeError>("8 bits");
  with([](TestTensor& t) {
    t.device.device_type = 7;
  })->fails<kt::ValueError>("is on a device of type 7");
  with([](TestTensor& t) { t.ndim = 9; })->fails<kt::ValueError>("has 9 axes");
  with([](TestTensor& t) { t.ndim = -1; })->fails<kt::ValueError>("has -1 axes");
  with([](TestTensor& t) { t.byte_offset = 2; })->fails<kt::ValueError>("no multiple of 4");
  with([](TestTensor& t) { t.data = nullptr; })->fails<kt::ValueError>("has no memory");
  with([](TestTensor& t) { t.shape[1] = -3; })->fails<kt::ValueError>("-3");
  with([](TestTensor& t) {
    t.shape[0] = t.shape[1] = std::int64_t{1} << 30;
  })->fails<kt::ValueError>("is too large");
  Theirs next;
  next.tensor.version.major = 2;
  CHECK_THROWS_AS(static_cast<void>(kt::from_dlpack(&next.tensor)), kt::ValueError);
  CHECK(next.deleted == 1);  // as DLPack says
}
