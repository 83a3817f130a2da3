// What differs between the libraries of several versions.
namespace fake_driver {

extern const int library_version;
const int library_version = FAKE_MAJOR;

}  // namespace fake_driver
