"""Images as users have them: reading, writing, colour and metadata.

- `picture` is what an image is inside of ddfm; `reading` and `writing` are its way in and out, with
  `formats` for those that need more than Pillow's `open`, and `thermal` for thermal cameras.
- `sources` and `opening` read the images of one scene, `sizes` brings them to one size; `pairing`
  finds those of many scenes in folders.
- `levels` decides what is black and white; `color` and `inherited`, with `metadata`, what a result
  takes over from its sources.
- `views`, `drawing` and `colormaps` make pictures to look at.
"""
