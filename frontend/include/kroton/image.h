// Pictures in files: JPEG and PNG.
#pragma once
