// PNG through libpng. Its errors leave by longjmp, which runs no destructors: what is called under
// setjmp has only trivial locals, and all else is owned by the reader or the writer.
#include <kroton/error.h>
#include <png.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstring>
#include <new>

#include "frontend/data/picture_parts.h"

namespace kroton::data {

namespace {

// What deflate makes of a byte at most.
constexpr std::int64_t most_inflated = 1032;

// Where errors of a reader and of a writer go.
class PngErrors {
 protected:
  // False, with message() telling why, where libpng has reported an error.
  template <class Calls>
  bool guarded(Calls calls) {
    if (setjmp(jump_) != 0) return false;
    calls();
    return true;
  }
  std::string message() const { return message_.data(); }

  [[noreturn]] static void leave(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngErrors*>(png_get_error_ptr(png));
    std::strncpy(self->message_.data(), text, self->message_.size() - 1);
    std::longjmp(self->jump_, 1);
  }
  static void ignore(png_structp, png_const_charp) {}

 private:
  std::jmp_buf jump_{};
  std::array<char, 200> message_{};
};

class PngReader : PngErrors {
 public:
  PngReader(std::span<const std::uint8_t> bytes, const std::string& name)
      : name_(name), left_(bytes) {
    const bool read = guarded([this] {
      png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, static_cast<PngErrors*>(this), leave,
                                    ignore);
      if (png_ == nullptr) return;
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) png_error(png_, "out of memory");
      png_set_read_fn(png_, this, [](png_structp png, png_bytep to, std::size_t count) {
        auto& reader = *static_cast<PngReader*>(png_get_io_ptr(png));
        if (count > reader.left_.size()) {
          reader.has_ended_ = true;
          png_error(png, "more data expected");
        }
        std::memcpy(to, reader.left_.data(), count);
        reader.left_ = reader.left_.subspan(count);
      });
      // Nothing is made of these, some of which are compressed.
      static constexpr png_byte unused[] = "iCCP\0iTXt\0tEXt\0zTXt\0sPLT\0hIST\0pCAL\0sCAL\0tIME";
      png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, unused, sizeof(unused) / 5);
      // The options have a limit.
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
      png_read_info(png_, info_);
    });
    if (!read || png_ == nullptr) give_up();
  }
  ~PngReader() { destroy(); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  std::int64_t rows() const { return png_get_image_height(png_, info_); }
  std::int64_t cols() const { return png_get_image_width(png_, info_); }
  // As stored.
  std::int64_t row_bytes() const {
    return (cols() * png_get_channels(png_, info_) * png_get_bit_depth(png_, info_) + 7) / 8;
  }

  // Has rows read as bytes, and returns the number of channels.
  std::int64_t convert() {
    const bool is_done = guarded([this] {
      png_set_scale_16(png_);
      const int type = png_get_color_type(png_, info_);
      if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
      if (type == PNG_COLOR_TYPE_GRAY) png_set_expand_gray_1_2_4_to_8(png_);
      png_set_strip_alpha(png_);
      passes_ = png_set_interlace_handling(png_);
      png_read_update_info(png_, info_);
    });
    if (!is_done) give_up();
    return png_get_channels(png_, info_);
  }

  // An interlaced picture is read all at once.
  bool is_interlaced() const { return passes_ > 1; }

  // The next rows.
  void read(std::uint8_t* to, std::size_t row_bytes, std::int64_t rows) {
    const bool is_done = guarded([this, to, row_bytes, rows] {
      for (int pass = 0; pass < passes_; ++pass) {
        png_bytep row = to;
        for (std::int64_t k = 0; k < rows; ++k, row += row_bytes) png_read_row(png_, row, nullptr);
      }
    });
    if (!is_done) give_up();
  }

  // What comes after the rows.
  void finish() {
    if (!guarded([this] { png_read_end(png_, info_); })) give_up();
  }

  // After finish().
  int orientation() {
    png_bytep data = nullptr;
    png_uint_32 count = 0;
    if (png_get_eXIf_1(png_, info_, &count, &data) == 0 || data == nullptr) return 1;
    return exif_orientation({data, count});
  }

 private:
  [[noreturn]] void give_up() {
    // A constructor that throws leaves no object to destroy.
    destroy();
    fail_reading(name_, (has_ended_ ? "the file ends early: " : "libpng says: ") + message());
  }
  void destroy() { png_destroy_read_struct(&png_, &info_, nullptr); }

  const std::string& name_;
  std::span<const std::uint8_t> left_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
  bool has_ended_ = false;
};

class PngWriter : PngErrors {
 public:
  PngWriter() {
    const bool is_made = guarded([this] {
      png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, static_cast<PngErrors*>(this), leave,
                                     ignore);
      if (png_ == nullptr) return;
      info_ = png_create_info_struct(png_);
      if (info_ == nullptr) png_error(png_, "out of memory");
    });
    if (!is_made || png_ == nullptr) give_up();
  }
  ~PngWriter() { destroy(); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  std::vector<std::uint8_t> write(const Picture& picture) {
    const bool is_done = guarded([this, &picture] {
      png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
      png_set_write_fn(
          png_, &bytes_,
          [](png_structp png, png_bytep from, std::size_t count) {
            if (!append(*static_cast<std::vector<std::uint8_t>*>(png_get_io_ptr(png)), from,
                        count)) {
              png_error(png, "out of memory");
            }
          },
          [](png_structp) {});
      png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.cols),
                   static_cast<png_uint_32>(picture.rows), 8,
                   picture.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                   PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
      png_write_info(png_, info_);
      const std::uint8_t* row = picture.pixels.data();
      for (std::int64_t k = 0; k < picture.rows; ++k, row += picture.cols * picture.channels) {
        png_write_row(png_, row);
      }
      png_write_end(png_, info_);
    });
    if (!is_done) give_up();
    return std::move(bytes_);
  }

 private:
  // No exception leaves, for libpng is called between here and who would catch it.
  static bool append(std::vector<std::uint8_t>& bytes, const png_byte* from, std::size_t count) {
    try {
      bytes.insert(bytes.end(), from, from + count);
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }
  [[noreturn]] void give_up() {
    destroy();
    throw IoError("to_png: libpng says: " + message());
  }
  void destroy() { png_destroy_write_struct(&png_, &info_); }

  std::vector<std::uint8_t> bytes_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name,
                   const PictureOptions& options, int& orientation) {
  PngReader reader(bytes, name);
  Picture picture{{}, reader.rows(), reader.cols(), 0};
  check_size(name, picture.rows, picture.cols, options);
  const auto size = static_cast<std::int64_t>(bytes.size());
  // Divided, for the product may not fit.
  if (picture.rows > 0 && reader.row_bytes() > (size + 1) * most_inflated / picture.rows) {
    fail_reading(name, "the header says " + size_of_picture(picture.rows, picture.cols) +
                           ", more than " + std::to_string(size) + " bytes can hold");
  }
  picture.channels = reader.convert();
  const auto read = [&reader](std::uint8_t* to, std::size_t row_bytes, std::int64_t count) {
    reader.read(to, row_bytes, count);
  };
  if (reader.is_interlaced()) {
    const auto row_bytes = static_cast<std::size_t>(picture.cols * picture.channels);
    picture.pixels.resize(static_cast<std::size_t>(picture.rows) * row_bytes);
    read(picture.pixels.data(), row_bytes, picture.rows);
  } else {
    read_rows(picture, read);
  }
  reader.finish();
  orientation = reader.orientation();
  return picture;
}

std::vector<std::uint8_t> to_png(const Picture& picture) {
  check_picture(picture, "to_png");
  if (picture.channels != 1 && picture.channels != 3) {
    throw ShapeError("to_png: expected a picture of 1 or 3 channels, got " +
                     std::to_string(picture.channels));
  }
  return PngWriter().write(picture);
}

}  // namespace kroton::data
