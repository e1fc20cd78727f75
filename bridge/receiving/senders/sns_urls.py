"""URLs of AWS SNS as whole patterns, so that a message chooses no other host."""

import re

# Amazon's own validators take any word for the region, but sns.s3-us-west-2.amazonaws.com is anybody's bucket.
_HOST = r"sns\.[a-z]{2,4}(-[a-z]{2,12}){1,3}-[0-9]{1,2}\.amazonaws\.com(\.cn)?"

CERTIFICATES = re.compile(rf"https://{_HOST}/SimpleNotificationService-[0-9A-Za-z]{{1,64}}\.pem")
CONFIRMATIONS = re.compile(rf"https://{_HOST}/\?[!-~]{{1,2000}}")
