// Pieces of SVG. Source: https://www.w3.org/TR/SVG11
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace kroton::plot {

inline constexpr const char* text_color = "#333333";
inline constexpr const char* axis_color = "#8a8a8a";
inline constexpr const char* grid_color = "#e6e6e6";

// A text between tags or in quotes: what means something in XML is escaped, what XML does not have
// becomes "?".
std::string escaped(std::string_view text);

// About how wide a text is in a sans-serif font of this size: SVG does not tell.
double width_of(std::string_view text, double size);

// The text, or as much of it as has about this width, with "…" at its end.
std::string fitted(std::string_view text, double size, double width);

// A coordinate, to a hundredth.
std::string number(double value);

enum class Anchor : std::uint8_t { start, middle, end };

// A text whose base line is at (x, y), turned by so many degrees around that point.
std::string text(double x, double y, std::string_view content, double size,
                 Anchor anchor = Anchor::start, const char* color = text_color, bool bold = false,
                 double turned = 0);
std::string line(double x1, double y1, double x2, double y2, std::string_view color,
                 double width = 1);
std::string rectangle(double x, double y, double width, double height, std::string_view fill);

// A whole picture on white.
std::string document(double width, double height, const std::string& content);

}  // namespace kroton::plot
